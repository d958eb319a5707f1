"""When a checkpoint is due by time: decided by the first rank's clock, and known to all ranks at the same step."""

from __future__ import annotations

import time

import torch

from trainables.training.ranks import Ranks


class CheckpointClock:
    """Ranks ask each other at few steps only: not before half of the time that is left may have passed, as far as speed tells."""

    def __init__(self, minutes: float, ranks: Ranks) -> None:
        """`minutes` between two checkpoints; 0 is never."""
        self._seconds, self._ranks = 60.0 * minutes, ranks
        self.restart()

    def restart(self) -> None:
        """A checkpoint has been written."""
        self._start, self._steps, self._next = time.monotonic(), 0, 1

    def due(self) -> bool:
        """Called after each step."""
        if not self._seconds:
            return False
        self._steps += 1
        if self._steps < self._next:
            return False
        wait = int(self._ranks.gather(torch.tensor([self._wait()], device=self._ranks.device))[0])
        self._next = self._steps + wait
        return not wait

    def _wait(self) -> int:
        """Steps before the clock is looked at again, at most as many as have been made; 0 where it is time."""
        passed = time.monotonic() - self._start
        if passed >= self._seconds:
            return 0
        half = (self._seconds - passed) / 2 * self._steps / max(passed, 1e-9)
        return max(1, min(int(half), self._steps))
