"""What files hold, as a hash; files that have not changed since are not read again."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from trainables.errors import UserError
from trainables.files import atomic
from trainables.files.cache import local_cache

Signature = tuple[str, int, int, int, int]  # path, bytes, times of change of the content and of the entry (ns), inode


# A settings field that names a file or folder; an equal relative path in another folder is another file.
LocalPath = Annotated[Path, AfterValidator(Path.absolute)]

_SETTLED = 2.0  # seconds after which a second change has another time on any file system


def signatures(paths: Iterable[Path]) -> tuple[Signature, ...]:
    """What shows without reading that files are the same as before; UserError for one that is not there."""
    return tuple(_signature(path) for path in paths)


def content_hash(paths: Sequence[Path], cache: Path) -> str:
    """SHA-256, hexadecimal, of what files hold and of their names relative to each other; remembered in the cache by their signatures.

    UserError where a file cannot be read, or changes meanwhile.
    """
    before = signatures(paths)
    remembered = local_cache(cache) / "hashes" / hashlib.sha256(repr(before).encode()).hexdigest()
    known = _recall(remembered)
    if known:
        return known
    above = Path(os.path.commonpath(paths)) if len(paths) > 1 else None
    digest = hashlib.sha256()
    for path in paths:
        name = path.relative_to(above).as_posix() if above else ""
        digest.update(f"{name}\0{_hash(path)}\0".encode())
    if signatures(paths) != before:
        raise UserError(f"{above or paths[0]}: was changed while it was read; run again when it is complete")
    newest = max((max(signature[2:4]) for signature in before), default=0)
    if time.time() - newest / 1e9 > _SETTLED:
        atomic.write_text(remembered, digest.hexdigest() + _check(digest.hexdigest()))
    return digest.hexdigest()


def _recall(path: Path) -> str | None:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        return None
    return text[:64] if text[64:] == _check(text[:64]) else None  # damaged: the files are read again


def _check(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def _signature(path: Path) -> Signature:
    try:
        found = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    return str(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
