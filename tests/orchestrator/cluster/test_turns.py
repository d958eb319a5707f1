"""Studies on one machine wait for each other, say so, and never for the dead."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.cluster.turns import one_start_at_a_time, place_on_this_machine, rays_at_once

HOLDER = """
import sys
from orchestrator.cluster.turns import place_on_this_machine
with place_on_this_machine(print, places=1):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _own_locks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@contextmanager
def held_elsewhere(turn: Callable[..., Any]) -> Iterator[threading.Event]:
    """Another thread holds a turn until the event is set."""
    begun, over = threading.Event(), threading.Event()

    def hold() -> None:
        with turn(lambda text: None):
            begun.set()
            over.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    begun.wait(10)
    yield over
    over.set()
    holder.join()


@pytest.mark.parametrize("turn", [one_start_at_a_time, partial(place_on_this_machine, places=1)])
def test_who_waits_for_another_study_says_so_again_and_again(turn: Callable[..., Any]) -> None:
    said: list[str] = []
    with held_elsewhere(turn) as over:

        def note(text: str) -> None:
            said.append(text)
            if len(said) == 2:
                over.set()

        with turn(note, patience=0.1):
            assert len(said) >= 2 and all("waiting for" in text and "on this machine" in text for text in said)


def test_there_is_a_place_for_each_of_as_many_studies_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    with place_on_this_machine(pytest.fail, places=2), held_elsewhere(partial(place_on_this_machine, places=2)):
        pass
    for gigabytes, places in ((4, 2), (24, 8), (256, 85)):
        monkeypatch.setattr(psutil, "virtual_memory", lambda total=gigabytes << 30: type("Memory", (), {"total": total}))
        assert rays_at_once() == places


def test_the_place_of_a_study_that_was_killed_is_free_at_once() -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    holder.kill()
    holder.wait()
    with place_on_this_machine(pytest.fail, places=1):
        pass
