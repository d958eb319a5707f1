"""A process of a running study is killed: the study ends with the same results, by itself or when it is run again."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults import interrupted
from tests.faults.interrupted import NAME, check_manners, check_same_or_told, follow, results, start, wait_for, write_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TWO_WORKERS = {"compute": {"workers": 2, "max_failures": 3}}


def victims(driver: int, words: str) -> list[psutil.Process]:
    """Descendants of the driver whose command line matches; an actor is named after its class, or after what it is doing."""
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        try:
            if re.search(words, " ".join(process.cmdline())):
                found.append(process)
        except psutil.Error:
            continue
    return found


def kill_one(process: subprocess.Popen[str], words: str) -> None:
    found: list[psutil.Process] = []
    wait_for(lambda: found or found.extend(victims(process.pid, words)) or found)
    found[0].kill()


@pytest.fixture(scope="module")
def wanted_of_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = write_study(tmp_path_factory.mktemp("faults") / "two", **TWO_WORKERS)
    assert follow(start(folder)).code == 0
    return results(folder)


@pytest.mark.parametrize("words", [
    "orchestrator.records.tracker", "ray::Dispatcher", "raylet/raylet", "gcs_server", "ray::(Trial|ResourceTrainable)",
])
def test_a_process_that_is_killed_while_the_second_trial_trains(words: str, wanted: list[dict[str, Any]], tmp_path: Path) -> None:
    folder = write_study(tmp_path)
    process = start(folder)
    wait_for(lambda: (folder / "runs" / NAME / "trials" / "0001" / "metrics.jsonl").exists())
    kill_one(process, words)
    ended = follow(process)
    check_manners(ended)
    if ended.code == 0:
        assert results(folder) == wanted
    else:
        assert ended.code in (1, 2, 3) and "snrlab" in ended.text, ended
        check_same_or_told(folder, wanted)


def test_a_sweep_task_that_is_killed_runs_again(wanted: list[dict[str, Any]], tmp_path: Path) -> None:
    folder = write_study(tmp_path)
    process = start(folder)
    wait_for(lambda: victims(process.pid, "ray::run_sweep"))
    kill_one(process, "ray::run_sweep")
    ended = follow(process)
    check_manners(ended)
    assert ended.code == 0 and results(folder) == wanted, ended.text


def test_one_of_two_workers_is_killed(wanted_of_two: list[dict[str, Any]], tmp_path: Path) -> None:
    folder = write_study(tmp_path, **TWO_WORKERS)
    process = start(folder)
    wait_for(lambda: (folder / "runs" / NAME / "trials" / "0000" / "checkpoint.safetensors").exists())
    kill_one(process, "ray::RayTrainWorker")
    ended = follow(process)
    check_manners(ended)
    assert ended.code == 0 and results(folder) == wanted_of_two, ended.text


def test_the_driver_is_stopped_for_a_while_and_goes_on(wanted: list[dict[str, Any]], tmp_path: Path) -> None:
    folder = write_study(tmp_path)
    process = start(folder)
    wait_for(lambda: (folder / "runs" / NAME / "trials" / "0001" / "metrics.jsonl").exists())
    process.send_signal(signal.SIGSTOP)
    try:
        wait_for(lambda: not victims(process.pid, "ray::run_sweep"), seconds=30)
    finally:
        process.send_signal(signal.SIGCONT)
    ended = interrupted.follow(process)
    check_manners(ended)
    assert ended.code == 0 and results(folder) == wanted
