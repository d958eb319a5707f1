"""Every image draws its own noise level from the schedule."""

from __future__ import annotations

from typing import Literal

import numpy as np

from trainables.randomness import uniform
from trainables.schedules import Schedule
from trainables.timesteps.policy import TimestepPolicy


class Independent(TimestepPolicy):
    """t ~ U(0, 1) per image: the usual choice, 'uniform' in the schedule's own time."""

    kind: Literal["uniform"] = "uniform"

    def draw(self, schedule: Schedule, seed: int, first: int, count: int, batch_size: int) -> np.ndarray:
        return schedule.from_uniform(uniform(seed, "log_snr", first, count))
