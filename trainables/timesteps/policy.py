"""What a timestep policy is: how the noise level of each training image is drawn."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

import numpy as np

from trainables.method import Method
from trainables.schedules import Schedule

if TYPE_CHECKING:
    from torch import Tensor


class TimestepPolicy(Method, abc.ABC):
    """Settings; `start` makes what draws in one run."""

    @abc.abstractmethod
    def start(self, schedule: Schedule, seed: int, batch_size: int) -> Draws:
        """Begin a run; `batch_size` is the global batch over all workers."""


class Draws(abc.ABC):
    """Draws noise levels as a function of (seed, global sample index) and of what has been observed.

    Every rank observes the same global values, so that all hold the same state.
    """

    observes_losses = False  # whether `observe` wants the losses of each step

    def __init__(self, schedule: Schedule, seed: int, batch_size: int) -> None:
        self.schedule, self.seed, self.batch_size = schedule, seed, batch_size

    @abc.abstractmethod
    def draw(self, first: int, count: int, clean: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        """(log SNR [count] float64, corrections of the loss [count] or None) of the samples first .. first + count - 1.

        `clean` [count,C,H,W] are their whitened images.
        """

    def observe(self, first: int, losses: np.ndarray) -> None:  # noqa: B027 - most policies observe nothing
        """Take in a step's losses [batch] as corrected, in order of samples from `first` on, before anything else is drawn or observed."""

    def report(self) -> dict[str, float]:
        """Numbers worth logging with each report."""
        return {}

    def density(self) -> np.ndarray | None:
        """Learned density over 16 equally likely cells of the schedule (mean 1), for policies that learn one."""
        return None

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold, as CPU tensors."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:  # noqa: B027 - most policies have no state
        """Go on from a state."""
