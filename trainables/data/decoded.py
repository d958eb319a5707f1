"""Images that were decoded once, in a file of the cache that all processes of a machine map."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from trainables.data.arrow_file import read_arrow, write_arrow
from trainables.data.images import ImageData
from trainables.errors import UserError
from trainables.files import atomic
from trainables.files.cache import local_cache, locked
from trainables.files.content import content_hash
from trainables.method import Method

log = logging.getLogger(__name__)

_VERSION = 1  # of what the same files and settings give


def decoded(source: Method, files: Mapping[str, tuple[Path, ...]], cache: Path, read: Callable[[], ImageData],
            pulse: Callable[[], None] = lambda: None) -> ImageData:
    """What `read` gives, mapped from the cache: by the content of `files` and the other settings of `source`, wherever the files lie.

    One process of a machine decodes, and the others wait, calling `pulse`.  A file that is damaged is made again; where there is no
    room for one, the images stay in memory.  UserError where the files change meanwhile.
    """
    path = local_cache(cache) / f"decoded-{_name(source, files, cache)}.arrow"
    with locked(path, pulse):
        if _whole(path, cache):
            return read_arrow(path)
        data, name = read(), path.name
        if f"decoded-{_name(source, files, cache)}.arrow" != name:
            raise UserError("data: the files were changed while they were read; run again when they are complete")
        try:
            write_arrow(data, path)
            atomic.write_text(_stated(path), content_hash((path,), cache))
        except OSError as error:
            log.warning("%s: the decoded images cannot be kept (%s); each process decodes its own", path, error.strerror)
            return data
    return read_arrow(path)


def _name(source: Method, files: Mapping[str, tuple[Path, ...]], cache: Path) -> str:
    import PIL  # another version may decode JPEG another way

    settings = source.model_dump_json(exclude={*files, "held_out"})
    hashes = [content_hash(paths, cache) for paths in files.values()]
    return hashlib.sha256(repr((_VERSION, PIL.__version__, settings, hashes)).encode()).hexdigest()[:32]


def _whole(path: Path, cache: Path) -> bool:
    """Whether the file is there with the content that was written; one that has not changed since is not read for that."""
    if not path.exists():
        return False
    try:
        found = content_hash((path,), cache)
        if found == _stated(path).read_text():
            return True
    except (OSError, UnicodeDecodeError):
        pass
    log.warning("%s: is damaged and is made again", path)
    return False


def _stated(path: Path) -> Path:
    return path.with_suffix(".sha256")
