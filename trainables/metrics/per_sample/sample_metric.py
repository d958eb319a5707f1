"""What a metric of samples is: numbers from the features of generated and of real images, in every feature space of a score."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from trainables.method import Method
from trainables.metrics.features import Extracted
from trainables.metrics.frechet import FeatureStatistics


@dataclass(frozen=True)
class Compared:
    """Generated and real images in one feature space."""

    made: Extracted  # features [N, dim] of generated images, with logits where the space is a classifier's
    real: np.ndarray  # features [M, dim] of real images, of an even choice of them if they are very many
    reference: FeatureStatistics  # moments of the features of all real images
    space: str  # its name


class SampleMetric(Method, abc.ABC):
    """Computed once per score of a sweep, and never for intermediate ones."""

    needs_held_out: ClassVar[bool] = False  # whether images must have been held out of training

    @abc.abstractmethod
    def names(self, space: str) -> tuple[str, ...]:
        """The metrics that every score has in this feature space, of those that searches may name; none where it has none there."""

    @abc.abstractmethod
    def of(self, images: Compared) -> dict[str, float]:
        """The metrics by name, and perhaps others such as `..._se`, their standard errors."""
