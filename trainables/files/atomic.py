"""Files that are either whole or not there: temporary name, fsync, rename; in one piece where a URL leads elsewhere."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4


def write_bytes(path: Path, content: bytes) -> None:
    if isinstance(path, Path):
        write_with(path, lambda temporary: temporary.write_bytes(content))
    else:
        path.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode())


def write_with(path: Path, write: Callable[[Path], Any]) -> None:
    """Call `write(temporary_path)` and move the result into place; on any error nothing is left behind."""
    if not isinstance(path, Path):
        with tempfile.TemporaryDirectory() as folder:
            write(made := Path(folder) / path.name)
            path.fs.put_file(str(made), path.path)
        return
    temporary = _temporary(path)
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class Writing:
    """A file that is written bit by bit, its header last; gone unless committed."""

    def __init__(self, path: Path, header_length: int) -> None:
        self._path, self._temporary, self._header_length = path, _temporary(path), header_length
        self._file = self._temporary.open("wb")
        self._file.seek(header_length)

    def write(self, piece: bytes | memoryview) -> None:
        self._file.write(piece)

    def commit(self, header: bytes) -> None:
        """Put the header before what was written, and the file in its place."""
        assert len(header) == self._header_length
        self._file.seek(0)
        self._file.write(header)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._temporary.replace(self._path)

    def discard(self) -> None:
        """Close; remove what was not committed."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{uuid4().hex[:8]}.partial")
