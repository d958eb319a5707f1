"""What a study needs is short: disk, the right to write, the clock, the folder for itself, the storage."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.records.store import Store
from tests.faults import interrupted
from tests.faults.interrupted import NAME, check_manners, check_same_or_told, follow, results, start, wait_for
from trainables.errors import Damaged
from trainables.files import document
from trainables.files.line_log import LineLog
from trainables.files.storage import place
from trainables.training import checkpoint, metrics_log
from trainables.training.checkpoint import Counters


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting a file system is not permitted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path, left: int) -> None:
    """Leave about so many bytes free."""
    with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:  # others write meanwhile
        file.write(bytes(max(0, shutil.disk_usage(disk).free - left)))


def save_checkpoint(folder: Path, size: int) -> None:
    import torch

    checkpoint.save(folder, "key", Counters(images=size), {"weights": torch.full((size,), 1.0)})


def store_average(folder: Path, size: int) -> None:
    import torch

    from trainables.ema.snapshots import write_snapshot

    write_snapshot(folder, 64, 0.05, [torch.full((size,), 1.0)], ["weights"])


WRITES: dict[str, Callable[[Path, int], object]] = {
    "document": lambda folder, size: document.write(folder / "trial.json", {"text": "x" * size}),
    "log": lambda folder, size: LineLog(folder / "search.jsonl", "").append({"text": "x" * size}),
    "metrics": lambda folder, size: metrics_log.append(folder, {"images": size, "text": "x" * size}),
    "checkpoint": lambda folder, size: save_checkpoint(folder, size // 4),
    "stored average": lambda folder, size: store_average(folder, size // 4),
}
READS: dict[str, Callable[[Path], object]] = {
    "document": lambda folder: document.read(folder / "trial.json", "")["text"],
    "log": lambda folder: [len(entry["text"]) for entry in LineLog(folder / "search.jsonl", "").read()],
    "metrics": lambda folder: [row["images"] for row in metrics_log.read(folder)],
    "checkpoint": lambda folder: [checkpoint.images(folder), checkpoint.verify(folder)],
    "stored average": lambda folder: [(s.images, s.size, s.file.verify()) for s in _snapshots(folder)],
}


def _snapshots(folder: Path) -> Any:
    from trainables.ema.snapshots import list_snapshots

    return list_snapshots(folder)


@pytest.mark.parametrize("kind", WRITES)
def test_a_full_disk_leaves_what_was_there_and_nothing_half_written(kind: str, small_disk: Path) -> None:
    WRITES[kind](small_disk, 4096)
    before, files = READS[kind](small_disk), sorted(path.name for path in small_disk.iterdir())
    fill(small_disk, 20_000)
    with pytest.raises(Exception, match=r"[Nn]o space|os error 28") as caught:
        WRITES[kind](small_disk, 200_000)
    assert not isinstance(caught.value, Damaged) and getattr(caught.value, "errno", errno.ENOSPC) == errno.ENOSPC
    (small_disk / "ballast").unlink()
    assert READS[kind](small_disk) == before and sorted(path.name for path in small_disk.iterdir()) == files
    WRITES[kind](small_disk, 8192)
    assert READS[kind](small_disk) != before


def test_a_full_disk_while_something_is_kept_leaves_no_entry(small_disk: Path, tmp_path: Path) -> None:
    from tests.conftest import tiny_fields
    from trainables.recipe import make_recipe

    recipe, folder = make_recipe(tiny_fields()), tmp_path / "trained"
    save_checkpoint(folder, 256)
    metrics_log.append(folder, {"images": 256})
    fill(small_disk, 0)
    store = Store(small_disk / "store")
    with pytest.raises(OSError, match="No space"):
        store.keep("key", recipe, folder, "study", 0)
    (small_disk / "ballast").unlink()
    assert store.entries() == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_drivers_on_one_study(killed: Path, wanted: list[dict[str, Any]]) -> None:
    first = start(killed)
    wait_for(lambda: first.poll() is not None or _is_held(killed))
    second = follow(start(killed))
    assert second.code == 2 and "is being run already" in second.text and "Traceback" not in second.text
    ended = follow(first)
    check_manners(ended)
    assert ended.code == 0 and results(killed) == wanted


def _is_held(folder: Path) -> bool:
    from orchestrator.records.folders import StudyFolder

    return StudyFolder(folder / "runs" / NAME).is_held


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_clock_an_hour_back(killed: Path, wanted: list[dict[str, Any]]) -> None:
    """What was written before lies in the future: the same results, and no time is charged for it."""
    ahead = [path for path in (killed / "runs").rglob("*") if path.is_file()]
    for path in ahead:
        status = path.stat()
        os.utime(path, (status.st_atime + 3600, status.st_mtime + 3600))
    for path in (killed / "runs" / NAME / "trials").glob("*/trial.json"):
        record = document.read(path, "")
        document.write(path, {**record, "started": record["started"] + 3600, "ended": record["ended"] and record["ended"] + 3600})
    check_same_or_told(killed, wanted)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_folder_in_which_nothing_can_be_written(killed: Path, wanted: list[dict[str, Any]]) -> None:
    runs = killed / "runs"
    if subprocess.run(["mount", "--bind", str(runs), str(runs)], capture_output=True).returncode:
        pytest.skip("mounting a file system is not permitted here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(runs)], check=True)
        ended = interrupted.follow(start(killed))
        check_manners(ended)
        assert ended.code == 2 and str(runs) in ended.text and "Read-only" in ended.text, ended
    finally:
        subprocess.run(["umount", "-l", str(runs)], check=True)
    check_same_or_told(killed, wanted)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("left", [0, 50 << 20], ids=["nothing left", "50 MiB left"])
def test_the_disk_gets_full_while_a_study_runs(left: int, wanted: list[dict[str, Any]], tmp_path: Path) -> None:
    folder = interrupted.write_study(tmp_path)
    runs = folder / "runs"
    runs.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "none", str(runs)], capture_output=True).returncode:
        pytest.skip("mounting a file system is not permitted here")
    try:
        process = start(folder)
        wait_for(lambda: (runs / NAME / "trials" / "0000" / "checkpoint.safetensors").exists())
        fill(runs, left)
        ended = follow(process)
        check_manners(ended)
        assert ended.code == 2 and "free some space" in ended.text, ended
        (runs / "ballast").unlink()
        check_same_or_told(folder, wanted)
    finally:
        subprocess.run(["umount", "-l", str(runs)], check=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seconds", [5, 40])
def test_object_storage_is_away_for_a_while(
    seconds: float, bucket: str, server: subprocess.Popen[bytes], wanted: list[dict[str, Any]], tmp_path: Path,
) -> None:
    folder = interrupted.write_study(tmp_path)
    options = ("--workdir", f"{bucket}/away-{seconds}", "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db")
    process = start(folder, *options)
    wait_for(lambda: place(f"{bucket}/away-{seconds}/{NAME}/trials/0001/metrics.jsonl").exists())
    server.send_signal(signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        server.send_signal(signal.SIGCONT)
    ended = follow(process)
    check_manners(ended)
    assert ended.code == 0 or (ended.code == 2 and "run the same command again to go on" in ended.text), ended
    check_same_or_told(folder, wanted, options=options)
