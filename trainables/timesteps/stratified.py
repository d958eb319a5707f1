"""Noise levels spread evenly over each batch (low discrepancy; Kingma et al. 2021)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from trainables.randomness import uniform
from trainables.schedules import Schedule
from trainables.timesteps.policy import TimestepPolicy


class Stratified(TimestepPolicy):
    """One common random offset per batch, image j at t = (j + u)/B: the same density, less variance of the loss."""

    kind: Literal["stratified"] = "stratified"

    def draw(self, schedule: Schedule, seed: int, first: int, count: int, batch_size: int) -> np.ndarray:
        batch, place = np.divmod(np.arange(first, first + count), batch_size)
        offsets = uniform(seed, "log_snr", int(batch[0]), int(batch[-1] - batch[0]) + 1)
        t = (place / batch_size + offsets[batch - batch[0]]) % 1.0
        return schedule.from_uniform(t)
