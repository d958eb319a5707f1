"""Many studies on one machine, each with a Ray of its own: starts follow each other, and no more run at once than memory allows."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

_BYTES_OF_A_STUDY = 3 << 30  # a small study and its Ray take 1.5 GB; half of the machine is left for larger ones and for everything else


def rays_at_once() -> int:
    """How many studies may have a Ray of their own on this machine at the same time."""
    return max(2, psutil.virtual_memory().total // _BYTES_OF_A_STUDY)


@contextmanager
def place_on_this_machine(note: Callable[[str], None], places: int | None = None, patience: float = 30.0) -> Iterator[None]:
    """One of `places` for studies with a Ray of their own, by default as many as memory allows.

    `note` is told of a wait, every `patience` seconds.  A place is a file lock: it is free as soon as its holder ends, however it ends.
    """
    places = places or rays_at_once()
    locks = [_lock(f"place-{i}") for i in range(places)]
    said_at = -patience
    while not any(_taken(lock) for lock in locks):
        if time.monotonic() - said_at >= patience:
            said_at = time.monotonic()
            note(f"waiting for other studies to end: {places} run on this machine, each with a Ray of its own, and more do not fit into "
                 "its memory (studies that join one Ray cluster, by --address, do not wait)")
        time.sleep(min(1.0, patience))
    try:
        yield
    finally:
        for lock in locks:
            lock.release()


@contextmanager
def one_start_at_a_time(note: Callable[[str], None], patience: float = 30.0) -> Iterator[None]:
    """Starts of Ray on this machine follow each other: many at once run into Ray's time limits."""
    lock = _lock("start")
    while not lock.is_locked:
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            note("waiting for other studies on this machine, which are starting Ray")
    try:
        yield
    finally:
        lock.release()


def _lock(name: str) -> FileLock:
    return FileLock(Path(tempfile.gettempdir()) / f"snrlab-ray-{os.getuid()}-{name}.lock")


def _taken(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True
