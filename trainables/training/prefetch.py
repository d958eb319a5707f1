"""Makes what the next step needs while this one computes."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetch(Generic[T]):
    """Values of a function of an index, made one ahead by a thread; always the values that `make` gives.

    The thread ends with `close`, with this object or with the process.  A forked process makes a thread of its own.
    """

    def __init__(self, make: Callable[[int], T]) -> None:
        self._make = make
        self._ahead: tuple[int, Future[T]] | None = None
        self._start()

    def __call__(self, index: int, following: int | None) -> T:
        """The value at an index; begins to make the one at `following`, which will be asked for next (None: nothing will).

        Raises what `make` raises, at the index where it does.
        """
        if self._process != os.getpid():  # threads do not survive a fork
            self._start()
        ahead, self._ahead = self._ahead, None
        value = ahead[1].result() if ahead and ahead[0] == index else self._make(index)
        if following is not None:
            self._ahead = following, self._thread.submit(self._make, following)
        return value

    def close(self) -> None:
        """Wait for the thread's end; nothing may be asked for afterwards."""
        self._ahead = None
        if self._process == os.getpid():
            self._thread.shutdown(cancel_futures=True)

    def _start(self) -> None:
        self._thread, self._process, self._ahead = ThreadPoolExecutor(1, "prefetch"), os.getpid(), None
