"""Every image draws its own noise level from the schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from trainables.randomness import uniform
from trainables.schedules import Schedule
from trainables.timesteps.policy import EVEN, Draws, TimeDensity, TimestepPolicy

if TYPE_CHECKING:
    from torch import Tensor


class Independent(TimestepPolicy):
    """t ~ U(0, 1) per image: the usual choice, uniform in the schedule's own time."""

    kind: Literal["uniform"] = "uniform"

    def density(self, schedule: Schedule) -> TimeDensity:
        return EVEN

    def start(self, schedule: Schedule, seed: int, batch_size: int) -> Draws:
        return _Independent(schedule, seed, batch_size)


class _Independent(Draws):
    def draw(self, first: int, count: int, clean: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        return self.schedule.from_uniform(uniform(self.seed, "log_snr", first, count)), None
