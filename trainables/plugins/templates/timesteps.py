"""My timestep policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from trainables.randomness import uniform
from trainables.schedules import Schedule
from trainables.timesteps.policy import EVEN, Draws, TimeDensity, TimestepPolicy

if TYPE_CHECKING:
    from torch import Tensor


class MyMethod(TimestepPolicy):
    """Images by twos, at opposite ends of the schedule: times u and 1 - u."""

    kind: Literal["my_method"] = "my_method"

    def density(self, schedule: Schedule) -> TimeDensity:
        return EVEN

    def start(self, schedule: Schedule, seed: int, batch_size: int) -> Draws:
        return _Draws(schedule, seed, batch_size)


class _Draws(Draws):
    def draw(self, first: int, count: int, clean: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        """(log SNR [count] float64, corrections of the loss or None) of samples first .. first + count - 1, whatever the batch."""
        pair, second = np.divmod(np.arange(first, first + count), 2)
        drawn = uniform(self.seed, "my_method", int(pair[0]), int(pair[-1] - pair[0]) + 1)[pair - pair[0]]
        return self.schedule.from_uniform(np.where(second == 1, 1.0 - drawn, drawn)), None
