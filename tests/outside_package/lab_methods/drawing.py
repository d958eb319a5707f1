"""A timestep policy and an augmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from trainables.augmentations.augmentation import Augmentation
from trainables.randomness import uniform
from trainables.schedules import Schedule
from trainables.timesteps.policy import EVEN, Draws, TimeDensity, TimestepPolicy

if TYPE_CHECKING:
    from torch import Tensor


class LabPairs(TimestepPolicy):
    """Images by twos at opposite ends of the schedule."""

    kind: Literal["lab_pairs"] = "lab_pairs"

    def density(self, schedule: Schedule) -> TimeDensity:
        return EVEN

    def start(self, schedule: Schedule, seed: int, batch_size: int) -> Draws:
        return _Pairs(schedule, seed, batch_size)


class _Pairs(Draws):
    def draw(self, first: int, count: int, clean: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        pair, second = np.divmod(np.arange(first, first + count), 2)
        drawn = uniform(self.seed, "lab_pairs", int(pair[0]), int(pair[-1] - pair[0]) + 1)[pair - pair[0]]
        return self.schedule.from_uniform(np.where(second == 1, 1.0 - drawn, drawn)), None


class LabFlips(Augmentation):
    """Every image upside down with its neighbour's chance."""

    kind: Literal["lab_flips"] = "lab_flips"

    def apply(self, images: Tensor, seed: int, first: int) -> tuple[Tensor, Tensor | None]:
        import torch

        mirrored = torch.from_numpy(uniform(seed, "lab_flips", first, len(images)) < 0.5).to(images.device)
        return torch.where(mirrored[:, None, None, None], images.flip(2), images), None
