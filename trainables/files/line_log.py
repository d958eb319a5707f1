"""Logs that only grow: an entry per line, each with its checksum; in storage that cannot append, an object per entry.

A last line that a crash cut short was never acknowledged: it is left out, and removed before the next one is added.  Any other
damage is an error that names the file and the line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from trainables.errors import Damaged, UserError
from trainables.files import atomic
from trainables.files.checksum import checked, with_checksum
from trainables.files.storage import is_local

_GENERATION = "generation"


class LineLog:
    """A log with one writer at a time.

    `generation` is that of the writer's lock (`Lock.generation`).  A writer that lost its lock and does not know it yet is of an
    earlier generation; what it adds after its successor's first entry is left out by `read`.
    """

    def __init__(self, path: Path, way_out: str, generation: int = 0) -> None:
        self._path, self._way_out, self._generation = path, way_out, generation
        self._count: int | None = None  # of the entries in object storage, once known

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add an entry of JSON values; it is on the disk when this returns."""
        marked = {_GENERATION: self._generation, **entry} if self._generation else entry
        if is_local(self._path):
            append_line(self._path, marked)
            return
        if self._count is None:
            self._count = len(self.read())
        _put_once(self._path / f"{self._count:012d}-{self._generation:06d}.json", with_checksum(marked).encode())
        self._count += 1

    def read(self) -> list[dict[str, Any]]:
        """All entries in order; Damaged where one is damaged or missing."""
        entries = read_lines(self._path, self._way_out) if is_local(self._path) else self._objects()
        kept, newest = [], 0
        for entry in entries:
            generation = int(entry.pop(_GENERATION, 0))
            if generation >= newest:
                newest = generation
                kept.append(entry)
        return kept

    def _objects(self) -> Iterable[dict[str, Any]]:
        names = sorted(path.name for path in self._path.glob("*.json"))
        newest: dict[int, str] = {}  # at each place in the log, that of the latest generation
        latest = ""
        for name in names:
            index, _, generation = name.removesuffix(".json").partition("-")
            if generation >= latest:
                newest[int(index)], latest = name, generation
        if list(newest) != list(range(len(newest))):
            lost = next(i for i, index in enumerate(newest) if i != index)
            raise Damaged(f"{self._path}: entry {lost} is missing; {self._way_out}")
        files, folder = cast(Any, self._path).fs, cast(Any, self._path).path
        locations = [f"{folder}/{name}" for name in newest.values()]
        contents = files.cat(locations) if len(locations) > 1 else {name: files.cat_file(name) for name in locations}
        return [_entry(contents[name], f"{self._path}/{Path(name).name}", self._way_out) for name in locations]


def append_line(path: Path, entry: Mapping[str, Any]) -> None:
    """Add a line to a file and force it to the disk; elsewhere the file is stored anew."""
    line = with_checksum(entry).encode() + b"\n"
    if not is_local(path):
        before = path.read_bytes() if path.exists() else b""
        path.write_bytes(_whole_lines(before) + line)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                file.seek(0)
                whole = _whole_lines(file.read())
                file.truncate(len(whole.removesuffix(b"\n")))
                line = b"\n" * bool(whole) + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def write_lines(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Put these entries in place of a file's, atomically."""
    atomic.write_text(path, "".join(with_checksum(entry) + "\n" for entry in entries))


def read_lines(path: Path, way_out: str) -> list[dict[str, Any]]:
    """The entries of a file, none where there is no file; Damaged where a line is damaged."""
    if not path.exists():
        return []
    lines = _whole_lines(path.read_bytes()).split(b"\n")[:-1]
    return [_entry(line, f"{path}: line {number}", way_out) for number, line in enumerate(lines, start=1)]


def _whole_lines(content: bytes) -> bytes:
    """The content up to the end of its last whole line."""
    whole, newline, last = content.rpartition(b"\n")
    for line in (last, last[:-1]):  # whole but for its line break, or with a line break that is damaged
        if _is_whole(line):
            return whole + newline + line + b"\n"
    return whole + newline


def _is_whole(line: bytes) -> bool:
    try:
        return bool(checked(line.decode()))
    except ValueError:
        return False


def _entry(line: bytes, where: str, way_out: str) -> dict[str, Any]:
    try:
        return checked(line.decode())
    except ValueError as error:
        reason = "it is no text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise Damaged(f"{where}: cannot be read ({reason}); {way_out}") from None


def _put_once(path: Path, content: bytes) -> None:
    """Store an object that nobody has stored yet; storing the same again (a repeated request) changes nothing."""
    files, location = cast(Any, path).fs, cast(Any, path).path
    try:
        files.pipe_file(location, content, mode="create")
    except FileExistsError:
        if files.cat_file(location) != content:
            raise UserError(f"{path}: another process has written this entry; only one may run a study at a time") from None
