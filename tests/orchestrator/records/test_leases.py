"""Leases where there are no locks: one holder at a time, whatever happens to the storage, the holder, or several contenders."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from filelock import Timeout

from orchestrator.records import leases
from orchestrator.records.folders import StudyFolder
from orchestrator.records.leases import Lease
from orchestrator.records.locks import lock_at
from trainables.errors import UserError
from trainables.files.storage import place


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"_RENEWED_EVERY": 0.05, "_GIVEN_UP_AFTER": 0.4, "_ABANDONED_AFTER": 0.8, "_LOOK_EVERY": 0.02}.items():
        monkeypatch.setattr(leases, name, seconds)


@pytest.fixture
def path() -> Path:
    return place(f"memory://leases-{uuid4().hex}/.lock")


def until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def test_a_lease_changes_hands_at_once_and_counts_how_often(path: Path) -> None:
    for generation in (1, 2, 3):
        lease = Lease(path, lambda: None)
        lease.acquire(timeout=0)
        assert lease.is_locked and lease.generation == generation
        with pytest.raises(Timeout):
            Lease(path, lambda: None).acquire(timeout=0)
        lease.release()
    assert len(list(path.glob("*.json"))) == 2  # the last, and the one before
    assert lock_at(Path("/tmp/none.lock")).generation == 0


def test_a_holder_that_cannot_renew_gives_up_before_anybody_follows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times: dict[str, float] = {}
    lease = Lease(path, lambda: times.setdefault("lost", time.monotonic()))
    lease.acquire()

    def away(*_: object, **__: object) -> None:
        raise RuntimeError("EndpointConnectionError, or whatever a client raises")

    time.sleep(0.2)
    monkeypatch.setattr(lease._files, "pipe_file", lambda location, content, **how: away() if lease._holder in content.decode()
                        else type(lease._files).pipe_file(lease._files, location, content, **how))
    other = Lease(path, lambda: None)
    other.acquire()
    times["followed"] = time.monotonic()
    assert other.generation == 2 and 0.2 < times["followed"] - times["lost"] < 1.0
    lease.release()
    other.release()


def test_an_outage_that_is_short_enough_costs_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[bool] = []
    lease = Lease(path, lambda: lost.append(True))
    lease.acquire()
    with monkeypatch.context() as patch:
        patch.setattr(type(lease._files), "ls", lambda *_, **__: 1 / 0)
        time.sleep(0.25)
    time.sleep(0.6)
    assert not lost and lease.is_locked
    lease.release()
    assert Lease(path, lambda: None)._last() is not None


def test_a_request_that_hangs_does_not_hide_the_loss(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost, hanging = threading.Event(), threading.Event()
    lease = Lease(path, lost.set)
    lease.acquire()
    monkeypatch.setattr(type(lease._files), "ls", lambda *_, **__: hanging.wait(10) and [])
    assert lost.wait(2)
    hanging.set()


def test_of_many_contenders_for_an_abandoned_lease_one_gets_it(path: Path) -> None:
    left = Lease(path, lambda: None)
    assert left._follow(0)  # held by a process that was killed
    contenders = [Lease(path, lambda: None) for _ in range(8)]

    def contend(lease: Lease) -> None:
        try:
            lease.acquire(timeout=0)
        except Timeout:
            return

    threads = [threading.Thread(target=contend, args=(lease,)) for lease in contenders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (holder,) = [lease for lease in contenders if lease.is_locked]
    assert holder.generation == 2
    holder.release()


def test_a_holder_that_was_followed_notices(path: Path) -> None:
    lost = threading.Event()
    lease = Lease(path, lost.set)
    lease.acquire()
    assert Lease(path, lambda: None)._follow(1)
    assert lost.wait(2)
    lease.release()
    assert Lease(path, lambda: None)._last()[0] == 2


def test_a_contender_that_slept_for_long_does_not_follow_a_lease_that_has_moved_on(path: Path) -> None:
    for _ in range(4):
        lease = Lease(path, lambda: None)
        lease.acquire()
        lease.release()
    assert not Lease(path, lambda: None)._follow(1) and Lease(path, lambda: None)._last()[0] == 4


def test_a_server_that_ignores_conditions_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = Lease(path, lambda: None)
    stores = type(lease._files).pipe_file
    monkeypatch.setattr(type(lease._files), "pipe_file", lambda self, location, content, mode="": stores(self, location, content))
    with pytest.raises(UserError, match="does not keep to If-None-Match"):
        lease.acquire()


def test_other_protocols_are_refused(path: Path) -> None:
    with pytest.raises(UserError, match=r"local:// has no way .* Allowed: a folder on a disk, s3://, "):
        lock_at(place("local:///tmp/somewhere/.lock"))


def test_work_ends_with_one_message_when_the_lease_is_lost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = StudyFolder(path.parent)
    with pytest.raises(UserError, match="run the same command again to go on"), folder.held() as lock:
        assert lock.generation == 1
        monkeypatch.setattr(type(lock._files), "ls", lambda *_, **__: 1 / 0)
        time.sleep(10)


class EndpointConnectionError(Exception):
    __module__ = "botocore.exceptions"


@pytest.mark.parametrize("error, words", [
    (OSError(28, "No space left on device"), "No space left on device: free some space; run the same command again"),
    (OSError(30, "Read-only file system"), "Read-only file system; run the same command again"),
    (EndpointConnectionError("Could not connect"), "storage cannot be reached: EndpointConnectionError: Could not connect; run the same"),
])
def test_work_that_ends_by_trouble_with_files_says_so_in_one_message(error: Exception, words: str, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "study")
    with pytest.raises(UserError, match=words), folder.held():
        raise error
    with pytest.raises(KeyError), folder.held():
        raise KeyError("a mistake of ours")
    assert not folder.is_held
