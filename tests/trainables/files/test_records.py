"""Records that notice damage: whatever is done to one of their bytes, they give the same data or one message, never other data."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from trainables.errors import Damaged, UserError
from trainables.files import document
from trainables.files.line_log import LineLog, read_lines
from trainables.files.storage import place

DATA = {"trials": 7, "values": {"optimiser.lr": 0.01}, "name": "cosine é", "loss": float("inf"), "none": None}
ENTRIES = [{"trial": 0, "lr": 0.25}, {"trial": 1, "lr": 0.5}, {"trial": 2, "reason": "a\nb"}]


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path if request.param == "disk" else place(f"memory://records-{uuid4().hex}")


def flips(content: bytes) -> Iterator[bytes]:
    for i in range(len(content)):
        for bit in range(8):
            yield content[:i] + bytes([content[i] ^ 1 << bit]) + content[i + 1:]


def test_a_document_comes_back_and_is_json_for_everybody(folder: Path) -> None:
    document.write(folder / "a.json", DATA)
    assert document.read(folder / "a.json", "") == DATA
    checksum, *_ = json.loads((folder / "a.json").read_text()).items()
    assert checksum[0] == "checksum"
    document.write(folder / "a.json", {}, indent=1)
    assert document.read(folder / "a.json", "") == {} and "checksum" in json.loads((folder / "a.json").read_text())


def test_no_flipped_bit_gives_other_data(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    document.write(path, DATA, indent=1)
    for content in flips(path.read_bytes()):
        path.write_bytes(content)
        with contextlib.suppress(Damaged):
            assert document.read(path, "") == DATA


def test_a_cut_or_missing_document_is_one_message(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    document.write(path, DATA)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(Damaged, match=r"a\.json: cannot be read .*; delete it"):
            document.read(path, "delete it")
    path.unlink()
    with pytest.raises(Damaged, match="No such file"):
        document.read(path, "")


def test_records_from_before_there_were_checksums_still_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(DATA))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in ENTRIES))
    assert document.read(tmp_path / "a.json", "") == DATA and LineLog(tmp_path / "a.jsonl", "").read() == ENTRIES


def log_of(path: Path) -> LineLog:
    log = LineLog(path, "delete it")
    for entry in ENTRIES:
        log.append(entry)
    return log


def test_a_log_keeps_its_order_and_grows_by_whoever_opens_it(folder: Path) -> None:
    log = log_of(folder / "log.jsonl")
    assert log.read() == ENTRIES == LineLog(folder / "log.jsonl", "").read()
    LineLog(folder / "log.jsonl", "").append({"trial": 3})
    assert log.read() == [*ENTRIES, {"trial": 3}]
    assert LineLog(folder / "none.jsonl", "").read() == []


def test_a_torn_last_line_is_left_out_and_gone_after_the_next(tmp_path: Path) -> None:
    log_of(path := tmp_path / "log.jsonl")
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        before = LineLog(path, "").read()
        assert before == ENTRIES[: len(before)]
        LineLog(path, "").append({"trial": 9})
        assert LineLog(path, "").read() == [*before, {"trial": 9}]


def test_no_flipped_bit_gives_another_log(tmp_path: Path) -> None:
    log = log_of(path := tmp_path / "log.jsonl")
    said = set()
    for content in flips(path.read_bytes()):
        path.write_bytes(content)
        try:
            assert log.read() == ENTRIES
        except Damaged as error:
            said.add(str(error).partition(": cannot")[0])
    assert said == {f"{path}: line {n}" for n in (1, 2, 3)}


def test_objects_that_are_missing_or_damaged_are_named() -> None:
    path = place(f"memory://records-{uuid4().hex}/log.jsonl")
    log = log_of(path)
    second = sorted(path.glob("*.json"))[1]
    whole = second.read_bytes()
    second.write_bytes(whole.replace(b"0.5", b"0.7"))
    with pytest.raises(Damaged, match=f"{second.name}: cannot be read"):
        log.read()
    second.unlink()
    with pytest.raises(Damaged, match="entry 1 is missing; delete it"):
        log.read()


def test_what_a_writer_of_an_earlier_generation_adds_too_late_is_left_out(folder: Path) -> None:
    path = folder / "log.jsonl"
    first = LineLog(path, "", generation=1)
    first.append({"trial": 0})
    second = LineLog(path, "", generation=2)
    assert second.read() == [{"trial": 0}]
    second.append({"trial": 1})
    first.append({"late": True})
    second.append({"trial": 2})
    first.append({"late": True})
    assert second.read() == [{"trial": 0}, {"trial": 1}, {"trial": 2}] == LineLog(path, "", 3).read()
    third = LineLog(path, "", 3)
    third.append({"trial": 3})
    assert third.read()[-2:] == [{"trial": 2}, {"trial": 3}]


def test_two_writers_of_one_generation_never_overwrite_each_other() -> None:
    path = place(f"memory://records-{uuid4().hex}/log.jsonl")
    first, second = LineLog(path, ""), LineLog(path, "")
    assert first.read() == second.read() == []
    first.append({"trial": 0})
    second._count = 0
    with pytest.raises(UserError, match="another process has written this entry"):
        second.append({"trial": 1})
    assert read_lines(path / "none", "") == [] and first.read() == [{"trial": 0}]
