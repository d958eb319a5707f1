"""Bytes in places: a disk, or any storage that fsspec knows by its URL (s3://, gs://, memory://, ...).

A file is whole or not there on both: renamed into place on a disk, stored in one piece elsewhere.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from trainables import atomic
from trainables.errors import UserError


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
            self._files: Any = fsspec.filesystem(protocol)
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


def storage_of(location: str) -> Disk | Remote:
    protocol, separator, _ = location.partition("://")
    return _remote(protocol) if separator else _DISK


_DISK = Disk()
_remote = lru_cache(Remote)
