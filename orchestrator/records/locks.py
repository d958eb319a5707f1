"""One process at a time: file locks on a disk, leases in storage that has no locks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock

from orchestrator.records.leases import Lease
from trainables.files.storage import is_local


class Lock(Protocol):
    """What both kinds can do; `acquire` raises Timeout, and waits for ever where the timeout is negative."""

    @property
    def is_locked(self) -> bool: ...

    @property
    def generation(self) -> int:
        """How often the lock has changed hands: what a holder writes carries it, so that a former holder's late words are told apart."""
        ...

    def acquire(self, timeout: float | None = None) -> Any: ...
    def release(self) -> None: ...


class DiskLock(FileLock):
    """The operating system takes it from nobody but the dead, so that nobody can be late."""

    generation = 0


def lock_at(path: Path, lost: Callable[[], object] = lambda: None) -> Lock:
    """A lock on a file that everybody names alike; `lost` is called, before anybody else can have it, when it can no longer be kept.

    UserError for storage in which no lease can be kept.
    """
    if is_local(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return DiskLock(path, thread_local=False)
    return Lease(path, lost)
