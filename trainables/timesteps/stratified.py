"""Noise levels spread evenly over each batch (low discrepancy; Kingma et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from trainables.randomness import uniform
from trainables.schedules import Schedule
from trainables.timesteps.policy import EVEN, Draws, TimeDensity, TimestepPolicy

if TYPE_CHECKING:
    from torch import Tensor


class Stratified(TimestepPolicy):
    """One common random offset per batch, image j at t = (j + u)/B: the same density, less variance of the loss."""

    kind: Literal["stratified"] = "stratified"

    def density(self, schedule: Schedule) -> TimeDensity:
        return EVEN

    def start(self, schedule: Schedule, seed: int, batch_size: int) -> Draws:
        return _Stratified(schedule, seed, batch_size)


class _Stratified(Draws):
    def draw(self, first: int, count: int, clean: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        batch, place = np.divmod(np.arange(first, first + count), self.batch_size)
        offsets = uniform(self.seed, "log_snr", int(batch[0]), int(batch[-1] - batch[0]) + 1)
        t = (place / self.batch_size + offsets[batch - batch[0]]) % 1.0
        return self.schedule.from_uniform(t), None
