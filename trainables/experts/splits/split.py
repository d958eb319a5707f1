"""What a split is: where on the axis of log SNR one group of noise levels ends and the next begins."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from trainables.experts.loss_curve import LossCurve
from trainables.method import Method
from trainables.schedules import Schedule


@dataclass(frozen=True)
class Axis:
    """The noise levels as sampling and training meet them."""

    evaluated: np.ndarray  # log SNR of the sampler's network evaluations of one image, a level as often as it is evaluated
    schedule: Schedule  # that training draws from
    loss: LossCurve | None = None  # of the base, where it has been measured

    @property
    def range(self) -> tuple[float, float]:
        """The sampler's smallest and largest log SNR."""
        return float(self.evaluated.min()), float(self.evaluated.max())


class Split(Method, abc.ABC):
    """Gives the inner edges; groups are numbered from noise to data, and the outermost have open ends."""

    needs_loss: ClassVar[bool] = False  # whether `axis.loss` must have been measured

    @abc.abstractmethod
    def edges(self, groups: int, axis: Axis) -> np.ndarray:
        """Rising log SNR [groups - 1]; ValueError where the axis cannot be split so."""

    def check(self, groups: int) -> None:
        """ValueError where the settings do not fit the number of groups."""
