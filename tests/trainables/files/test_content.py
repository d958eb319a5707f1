"""Hashes of what files hold: remembered while the files are the same, and never longer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainables.errors import UserError
from trainables.files import content
from trainables.files.content import content_hash

OLD = 1_600_000_000


def write(path: Path, text: str, time: int = OLD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time, time))
    return path


def test_the_hash_is_that_of_content_not_of_place(tmp_path: Path) -> None:
    a, b, c = write(tmp_path / "a", "same"), write(tmp_path / "deep" / "b", "same"), write(tmp_path / "c", "other")
    assert content_hash([a], tmp_path / "cache") == content_hash([b], tmp_path / "cache") != content_hash([c], tmp_path / "cache")


def test_names_within_a_folder_count(tmp_path: Path) -> None:
    cats = [write(tmp_path / "one" / n, "x") for n in ("cat/0.png", "dog/0.png")]
    same = [write(tmp_path / "two" / n, "x") for n in ("cat/0.png", "dog/0.png")]
    moved = [write(tmp_path / "three" / n, "x") for n in ("cat/0.png", "cat/1.png")]
    hashes = [content_hash(files, tmp_path / "cache") for files in (cats, same, moved)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_nothing_is_read_twice_and_a_replaced_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "_SETTLED", -1e9)  # as if all had happened long ago
    path, reads, read = write(tmp_path / "a", "before"), [], content._hash
    monkeypatch.setattr(content, "_hash", lambda path: reads.append(path) or read(path))
    first = content_hash([path], tmp_path / "cache")
    assert content_hash([path], tmp_path / "cache") == first and len(reads) == 1
    write(tmp_path / "b", "AFTER!").replace(path)  # as long, as old
    assert content_hash([path], tmp_path / "cache") != first and len(reads) == 2
    write(path, "within")  # in place, as long, as old
    assert content_hash([path], tmp_path / "cache") != first and len(reads) == 3


def test_a_file_that_is_just_being_written_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("now")
    content_hash([path], tmp_path / "cache")
    assert not list(tmp_path.glob("cache/hashes/*"))


def test_a_damaged_memory_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "_SETTLED", -1e9)
    path = write(tmp_path / "a", "text")
    first = content_hash([path], tmp_path / "cache")
    remembered, = (tmp_path / "cache" / "hashes").iterdir()
    for damaged in (b"", b"\xff\xfe", remembered.read_bytes()[:40], remembered.read_bytes().replace(first[:1].encode(), b"g")):
        remembered.write_bytes(damaged)
        assert content_hash([path], tmp_path / "cache") == first


def test_a_missing_file_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none: cannot be read"):
        content_hash([tmp_path / "none"], tmp_path / "cache")
