"""What a timestep policy is: how the noise level of each training image is drawn."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainables.method import Method
from trainables.schedules import Schedule

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TimeDensity:
    """A density over the schedule's time t in [0, 1], constant between edges."""

    edges: tuple[float, ...]  # from 0 to 1, ascending
    values: tuple[float, ...]  # one per interval, positive, of mean 1

    def at(self, t: np.ndarray) -> np.ndarray:
        """The density at times [N]."""
        return np.array(self.values)[np.searchsorted(self.edges[1:-1], t, side="right")]

    def share(self, first: float, last: float) -> float:
        """How much of it lies between two times."""
        return float(np.sum(np.diff(np.clip(self.edges, first, last)) * self.values))


EVEN = TimeDensity((0.0, 1.0), (1.0,))


class TimestepPolicy(Method, abc.ABC):
    """Settings; `start` makes what draws in one run."""

    def density(self, schedule: Schedule) -> TimeDensity | None:
        """How densely the schedule's times are drawn, once the draws' own corrections are counted; None if in no closed form."""
        return None

    def loss_weight(self, schedule: Schedule, t: np.ndarray) -> np.ndarray:
        """What the loss at the schedule's times t [N] is multiplied by, beyond corrections that `density` counts; 1 by default."""
        return np.ones_like(t)

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
