"""What a timestep policy is: how the noise level of each training image is drawn."""

from __future__ import annotations

import abc

import numpy as np

from trainables.method import Method
from trainables.schedules import Schedule


class TimestepPolicy(Method, abc.ABC):
    """Noise levels are a function of (seed, global sample index), so that any worker can draw any image's."""

    @abc.abstractmethod
    def draw(self, schedule: Schedule, seed: int, first: int, count: int, batch_size: int) -> np.ndarray:
        """log SNR [count], float64, of the training samples first .. first + count - 1; `batch_size` is the global batch."""
