"""Cached arrays: made once, checked when read, one copy for all machines."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from trainables.files.cache import array_hash, cached_arrays
from trainables.files.storage import place


class Counted:
    """Arrays that tell how often they were computed; each time others, as on another machine."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.times += 1
        return {"a": np.arange(100.0) + self.times, "b": np.ones((2, 3), np.float32)}


def test_what_is_cached_is_not_computed_again(tmp_path: Path) -> None:
    made = Counted()
    first, again = cached_arrays(tmp_path, "x", made), cached_arrays(tmp_path, "x", made)
    assert made.times == 1 and first[1] == again[1] == array_hash(first[0])
    np.testing.assert_array_equal(first[0]["a"], again[0]["a"])


@pytest.mark.parametrize("damage", ["bit", "half", "empty", "other file"])
def test_damaged_files_are_made_again_with_a_warning(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = Counted()
    cached_arrays(tmp_path, "x", made)
    path = tmp_path / "x.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes({"bit": bytes(content), "half": content[: len(content) // 2], "empty": b"", "other file": b"hello" * 100}[damage])
    with caplog.at_level(logging.WARNING):
        arrays, found = cached_arrays(tmp_path, "x", made)
    assert made.times == 2 and found == array_hash(arrays) and "x.safetensors: is damaged" in caplog.text


def test_two_machines_use_the_bytes_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = place("memory://test-cache/one")
    results = []
    for machine in ("first", "second"):
        monkeypatch.setenv("HOME", str(tmp_path / machine))
        results.append(cached_arrays(shared, "x", made := Counted()))
        assert made.times == (1 if machine == "first" else 0)
        assert cached_arrays(shared, "x", made)[1] == results[-1][1] and len(list((tmp_path / machine).rglob("x.safetensors"))) == 1
    assert results[0][1] == results[1][1]


def test_of_two_machines_at_once_the_first_to_store_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = place("memory://test-cache/two")
    first = []

    def overtaken() -> dict[str, np.ndarray]:
        monkeypatch.setenv("HOME", str(tmp_path / "other"))
        first.append(cached_arrays(shared, "x", Counted()))
        monkeypatch.setenv("HOME", str(tmp_path / "own"))
        return {"a": np.zeros(3)}

    monkeypatch.setenv("HOME", str(tmp_path / "own"))
    assert cached_arrays(shared, "x", overtaken)[1] == first[0][1]


def test_a_damaged_shared_file_is_replaced_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = place("memory://test-cache/three")
    monkeypatch.setenv("HOME", str(tmp_path / "first"))
    _, before = cached_arrays(shared, "x", Counted())
    content = bytearray((shared / "x.safetensors").read_bytes())
    content[-5] ^= 1
    (shared / "x.safetensors").write_bytes(bytes(content))
    monkeypatch.setenv("HOME", str(tmp_path / "second"))
    _, after = cached_arrays(shared, "x", lambda: {"a": np.zeros(3)})
    monkeypatch.setenv("HOME", str(tmp_path / "first"))
    assert cached_arrays(shared, "x", Counted())[1] == after != before
