"""Bytes in places: a disk, or any storage that fsspec knows by its URL (s3://, gs://, memory://, ...).

A file is whole or not there on both: renamed into place on a disk, stored in one piece elsewhere.  Small files and folders are
paths (`place`); the stored averages, which are large, are read and written in ranges (`storage_of`).
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, cast

from trainables.errors import UserError, in_one_line
from trainables.files import atomic


def place(text: str | Path) -> Path:
    """A folder or file by its path or URL; what a URL gives behaves as a Path does, but is none for the operating system."""
    if isinstance(text, Path) or "://" not in text:
        return Path(text).absolute()
    from upath import UPath

    try:
        return cast(Path, UPath(text.rstrip("/"), **_options(text.partition("://")[0])))
    except (ValueError, ImportError) as error:
        raise UserError(f"{text}: {error}") from None


def is_local(path: Path) -> bool:
    return isinstance(path, Path)


def trouble(error: BaseException) -> str:
    """Why files cannot be read or written just now (disk full, no right to, storage out of reach); empty for any other error."""
    if isinstance(error, OSError) and error.errno in _TROUBLES:
        return f"{error.strerror}{_TROUBLES[error.errno]}"
    client = type(error).__module__.partition(".")[0] in ("aiobotocore", "aiohttp", "botocore", "fsspec", "gcsfs", "google", "s3fs")
    return f"the storage cannot be reached: {in_one_line(error)}" if client else ""


@contextmanager
def writable(path: Path, remedy: str) -> Iterator[None]:
    """UserError, with the reason and the remedy, where what is written meanwhile to a file, or below a folder, cannot be."""
    try:
        yield
    except Exception as error:
        if not (reason := _in_the_way(error, path) or trouble(error)):
            raise
        raise UserError(f"{path}: cannot be written ({reason}); {remedy}") from None


def _in_the_way(error: BaseException, path: Path) -> str:
    """What lies where something is to be written; empty for any other error."""
    if not isinstance(error, IsADirectoryError | FileExistsError | NotADirectoryError):
        return ""
    there = Path(error.filename2 or error.filename or path)
    if isinstance(error, IsADirectoryError):
        return f"{there} is a folder, and a file is needed"
    file = next((part for part in (there, *there.parents) if part.is_file()), there)
    return f"{file} is a file, and a folder is needed"


def make_folder(path: Path) -> None:
    """Make a folder with those above it; FileNotFoundError for a bucket that is not there."""
    if is_local(path):
        path.mkdir(parents=True, exist_ok=True)
    elif path.drive and not cast(Any, path).fs.exists(path.drive):
        raise FileNotFoundError(f"there is no bucket {path.drive}")


def append_text(path: Path, text: str) -> None:
    """Add to the end of a file and force it to the disk; elsewhere the file is stored anew, by one writer at a time."""
    if not is_local(path):
        path.write_text((path.read_text() if path.exists() else "") + text)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """The file itself on a disk; for a while, a copy of one that lies elsewhere."""
    if is_local(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        cast(Any, path).fs.get_file(cast(Any, path).path, str(copy))
        yield copy


def copy_file(source: Path, target: Path) -> None:
    """Put the same file at another name: as a hard link where the disk can, within the storage where it is one."""
    if not is_local(source):
        cast(Any, source).fs.cp_file(cast(Any, source).path, cast(Any, target).path)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        pass
    except OSError:  # another disk, or a file system without links
        atomic.write_with(target, lambda temporary: shutil.copyfile(source, temporary))


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, if it is there."""
    if is_local(folder):
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists():
        cast(Any, folder).fs.rm(cast(Any, folder).path, recursive=True)


class Writing(Protocol):
    """A file on its way: written bit by bit after its header, which comes last; gone unless committed."""

    def write(self, piece: memoryview) -> Any: ...
    def commit(self, header: bytes) -> None: ...
    def discard(self) -> None: ...


class Disk:
    """Locations are paths."""

    def length(self, location: str) -> int:
        return Path(location).stat().st_size

    def read_into(self, location: str, buffer: memoryview, offset: int) -> int:
        """Fill the buffer from an offset on; the number of bytes that there were."""
        done = 0
        descriptor = os.open(location, os.O_RDONLY)
        try:
            while done < len(buffer) and (count := os.preadv(descriptor, [buffer[done:]], offset + done)):
                done += count
        finally:
            os.close(descriptor)
        return done

    def prefetch(self, location: str, offset: int, length: int) -> None:
        """Let the system fetch a range in the background."""
        descriptor = os.open(location, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)

    def create(self, location: str, header_length: int) -> Writing:
        return atomic.Writing(Path(location), header_length)

    def find(self, folder: str, pattern: str) -> list[str]:
        return [str(path) for path in sorted(Path(folder).glob(pattern))]

    def delete(self, location: str) -> None:
        Path(location).unlink(missing_ok=True)


class Remote:
    """Locations are URLs of one protocol."""

    def __init__(self, protocol: str) -> None:
        import fsspec

        try:
            self._files: Any = fsspec.filesystem(protocol, **_options(protocol))
        except (ValueError, ImportError) as error:
            raise UserError(f"{protocol}://: {error}") from None

    def length(self, location: str) -> int:
        return int(self._files.size(location))

    def read_into(self, location: str, buffer: memoryview, offset: int) -> int:
        content = self._files.cat_file(location, start=offset, end=offset + len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def prefetch(self, location: str, offset: int, length: int) -> None:
        """Nothing: there is no such hint."""

    def create(self, location: str, header_length: int) -> Writing:
        return _Upload(self._files, location)

    def find(self, folder: str, pattern: str) -> list[str]:
        return sorted(self._files.unstrip_protocol(found) for found in self._files.glob(f"{folder.rstrip('/')}/{pattern}"))

    def delete(self, location: str) -> None:
        self._files.rm_file(location)


class _Upload:
    def __init__(self, files: Any, location: str) -> None:
        self._files, self._location, self._content = files, location, bytearray()

    def write(self, piece: memoryview) -> None:
        self._content += piece

    def commit(self, header: bytes) -> None:
        self._files.pipe_file(self._location, header + bytes(self._content))

    def discard(self) -> None:
        self._content.clear()


def read_header(location: str) -> tuple[dict[str, Any], int, int]:
    """(header, first byte after it, bytes of the file) of a safetensors file; OSError or ValueError where it is none."""
    storage = storage_of(location)
    total = storage.length(location)
    length = int.from_bytes(_read(storage, location, 0, 8), "little")
    if length > min(_LARGEST_HEADER, total):
        raise ValueError(f"a header of {length} bytes")
    header = dict(json.loads(_read(storage, location, 8, length)))
    whole = 8 + length + max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    if total != whole:
        raise ValueError(f"it has {total} bytes, not {whole}")
    return header, 8 + length, total


def _read(storage: Disk | Remote, location: str, offset: int, length: int) -> bytes:
    content = bytearray(length)
    return bytes(content[: storage.read_into(location, memoryview(content), offset)])


def storage_of(location: str) -> Disk | Remote:
    protocol, separator, _ = location.partition("://")
    return _remote(protocol) if separator else _DISK


def _options(protocol: str) -> dict[str, Any]:
    """For fsspec: no cache of listings, because other machines write there too; storage that is away is an error within a minute."""
    patience = {"connect_timeout": 5, "read_timeout": 20, "retries": {"max_attempts": 2}}
    return {"use_listings_cache": False, **({"config_kwargs": patience} if protocol in ("s3", "s3a") else {})}


_TROUBLES = {errno.ENOSPC: ": free some space", errno.EDQUOT: ": free some space", errno.EROFS: "", errno.EACCES: "", errno.EPERM: "",
             errno.ENAMETOOLONG: ""}
_LARGEST_HEADER = 100 << 20  # safetensors' own limit
_DISK = Disk()
_remote = lru_cache(Remote)
