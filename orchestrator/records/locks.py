"""One process at a time: file locks on a disk, leases in storage that has no locks."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

from filelock import FileLock, Timeout

from trainables.files.storage import is_local

_RENEWED_EVERY, _ABANDONED_AFTER = 5.0, 20.0  # seconds


class Lock(Protocol):
    """What both kinds can do; `acquire` raises Timeout, and waits for ever where the timeout is negative."""

    @property
    def is_locked(self) -> bool: ...
    def acquire(self, timeout: float | None = None) -> Any: ...
    def release(self) -> None: ...


def lock_at(path: Path, lost: Callable[[], object] = lambda: None) -> Lock:
    """A lock on a file that everybody names alike; `lost` is called if it is taken away (from a process that had been stopped for long)."""
    if is_local(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path, thread_local=False)
    return Lease(path, lost)


class Lease:
    """A small file that its holder writes anew all the time; one that stays the same has no holder any more.

    Clocks of different machines are never compared.  A waiter looks at the file until it changes or is abandoned, so that
    even `timeout=0` takes some seconds where somebody else is or was there.
    """

    def __init__(self, path: Path, lost: Callable[[], object]) -> None:
        self._files, self._path, self._lost = cast(Any, path).fs, cast(Any, path).path, lost
        self._holder, self._renewals = uuid.uuid4().hex, 0
        self._over: threading.Event | None = None

    @property
    def is_locked(self) -> bool:
        return self._over is not None

    def acquire(self, timeout: float | None = None) -> None:
        start = since = time.monotonic()
        seen = None
        while not self._create():
            now = self._read()
            if now is None:
                continue  # it has just been given back
            waited = time.monotonic() - start
            if now != seen:
                if seen is not None and timeout is not None and 0 <= timeout <= waited:
                    raise Timeout(self._path)
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > _ABANDONED_AFTER:
                self._remove()
                continue
            time.sleep(0.5)
        self._over = threading.Event()
        self._renewing = threading.Thread(target=self._renew, args=(self._over,), daemon=True)
        self._renewing.start()

    def release(self) -> None:
        if self._over:
            self._over.set()
            self._renewing.join()  # else its last renewal might come after the removal
            self._over = None
            if self._is_mine:
                self._remove()

    @property
    def _is_mine(self) -> bool:
        return f'"{self._holder}"'.encode() in (self._read() or b"")

    @property
    def _content(self) -> bytes:
        return json.dumps({"holder": self._holder, "renewals": self._renewals}).encode()

    def _create(self) -> bool:
        try:
            self._files.pipe_file(self._path, self._content, mode="create")
        except FileExistsError:
            return False
        return True

    def _read(self) -> bytes | None:
        try:
            return bytes(self._files.cat_file(self._path))
        except FileNotFoundError:
            return None

    def _remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._path)

    def _renew(self, over: threading.Event) -> None:
        while not over.wait(_RENEWED_EVERY):
            with contextlib.suppress(OSError):  # the storage is away for a moment; others see that no better
                if not self._is_mine:
                    self._lost()
                    return
                self._renewals += 1
                self._files.pipe_file(self._path, self._content)
