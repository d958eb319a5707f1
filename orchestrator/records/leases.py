"""Leases in object storage: a small object that its holder writes anew all the time.

    study/.lock/00000007.json    {"holder": "...", "renewals": 12}

Each holder has an object of its own, and the one of the highest generation holds the lease.  Whoever wants to follow makes the
next object, which the storage lets exactly one of them do (on S3: PUT with If-None-Match), once the last has said that it is
free, or has not changed for _ABANDONED_AFTER seconds.  A holder that could not renew for _GIVEN_UP_AFTER seconds, by then,
has given up.  Clocks of different machines are never compared, and those that are read go on while a process is stopped or a
laptop sleeps.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from filelock import Timeout

from trainables.errors import UserError, in_one_line

# seconds
_RENEWED_EVERY, _GIVEN_UP_AFTER, _ABANDONED_AFTER = 5.0, 15.0, 25.0
_LOOK_EVERY = 0.5
SUPPORTED = {"s3": "S3", "s3a": "S3", "gs": "Google Cloud Storage", "gcs": "Google Cloud Storage", "memory": "memory of one process"}


class Lease:
    """A lock that is lost when it cannot be renewed.

    A waiter looks at the holder's object until it changes or is abandoned, so that even `timeout=0` takes some seconds where
    somebody else is or was there.
    """

    def __init__(self, path: Path, lost: Callable[[], object]) -> None:
        if (protocol := cast(Any, path).protocol) not in SUPPORTED:
            names = ", ".join(f"{name}://" for name in SUPPORTED)
            raise UserError(f"{path}: only one process at a time may write there, and {protocol}:// has no way to see to that. "
                            f"Allowed: a folder on a disk, {names}.")
        self._files, self._folder, self._lost = cast(Any, path).fs, cast(Any, path).path.rstrip("/"), lost
        self._holder, self._renewals, self._generation = uuid.uuid4().hex, 0, 0
        self._renewed = 0.0
        self._over: threading.Event | None = None

    @property
    def is_locked(self) -> bool:
        return self._over is not None

    @property
    def generation(self) -> int:
        return self._generation

    def acquire(self, timeout: float | None = None) -> None:
        start = since = _now()
        seen: tuple[int, bytes] | None = None
        while True:
            last = self._last()
            if last is None or _is_free(last[1]) or (last == seen and _now() - since > _ABANDONED_AFTER):
                if self._follow(last[0] if last else 0):
                    break
                continue
            if last != seen:
                if seen is not None and timeout is not None and 0 <= timeout <= _now() - start:
                    raise Timeout(self._folder)
                seen, since = last, _now()
            time.sleep(min(_LOOK_EVERY, _RENEWED_EVERY))
        self._over = threading.Event()
        self._renewing = threading.Thread(target=self._renew, args=(self._over,), daemon=True)
        self._renewing.start()
        threading.Thread(target=self._watch, args=(self._over,), daemon=True).start()

    def release(self) -> None:
        """Say that the lease is free; where it was lost, or the storage cannot be reached, it is free after a while by itself."""
        if not self._over:
            return
        over, self._over = self._over, None
        if not over.is_set():
            over.set()
            telling = threading.Thread(target=self._tell, daemon=True)
            telling.start()
            telling.join(timeout=_GIVEN_UP_AFTER)  # the storage may hang

    def _last(self) -> tuple[int, bytes] | None:
        """Generation and content of the last holder's object."""
        try:
            found = self._files.ls(self._folder, detail=False)
        except FileNotFoundError:
            return None
        generations = [int(Path(name).stem) for name in found if Path(name).stem.isdigit()]
        if not generations:
            return None
        try:
            return max(generations), bytes(self._files.cat_file(self._location(max(generations))))
        except FileNotFoundError:
            return max(generations), b""  # it has just been cleared away by a follower

    def _follow(self, last: int) -> bool:
        """Whether this process has got the lease after the holder of a generation."""
        mine, renewed = last + 1, _now()
        if not self._create(mine):
            return False
        if self._create(mine):
            raise UserError(f"{self._folder}: this server does not keep to If-None-Match, so that no lease is safe there; use one that "
                            "does (Amazon S3, MinIO, Ceph of today), or a folder on a disk")
        if max(self._generations()) != mine:  # this process was stopped between looking and following
            self._files.rm_file(self._location(mine))
            return False
        self._generation, self._renewed = mine, renewed
        for earlier in self._generations():
            if earlier < last:
                with contextlib.suppress(FileNotFoundError):
                    self._files.rm_file(self._location(earlier))
        return True

    def _generations(self) -> list[int]:
        return [int(Path(name).stem) for name in self._files.ls(self._folder, detail=False) if Path(name).stem.isdigit()]

    def _create(self, generation: int) -> bool:
        try:
            self._files.pipe_file(self._location(generation), self._content(), mode="create")
        except FileExistsError:
            return False
        return True

    def _renew(self, over: threading.Event) -> None:
        """Renew until it is over, whatever error the storage's client raises: others see the storage no better."""
        while not over.wait(_RENEWED_EVERY):
            started = _now()
            try:
                if max(self._generations()) > self._generation:
                    self._renewed = -math.inf  # somebody has followed
                    return
                self._renewals += 1
                self._files.pipe_file(self._location(self._generation), self._content())
                self._renewed = started
            except Exception as error:
                logging.getLogger(__name__).warning("%s: could not be renewed (%s)", self._folder, in_one_line(error))

    def _tell(self) -> None:
        self._renewing.join()  # else its last renewal might come after this
        with contextlib.suppress(Exception):
            self._files.pipe_file(self._location(self._generation), self._content(free=True))

    def _watch(self, over: threading.Event) -> None:
        """Give up in time: in a thread of its own, because a request may hang."""
        while not over.wait(min(_LOOK_EVERY, _RENEWED_EVERY)):
            if _now() - self._renewed > _GIVEN_UP_AFTER:
                over.set()
                self._lost()

    def _location(self, generation: int) -> str:
        return f"{self._folder}/{generation:08d}.json"

    def _content(self, free: bool = False) -> bytes:
        return json.dumps({"holder": self._holder, "renewals": self._renewals, "free": free}).encode()


def _is_free(content: bytes) -> bool:
    try:
        return bool(json.loads(content)["free"])
    except (ValueError, KeyError, TypeError):
        return False


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
