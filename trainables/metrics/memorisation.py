"""Whether generated images are copies of training images: their distance to the nearest one, against that of images held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trainables.data import ImageData
from trainables.metrics.reference import Reference

NEAR = 0.05  # share of the held-out images that are called near


@dataclass(frozen=True)
class Memorised:
    """What was found of some generated images."""

    share: float  # of images nearer to a training image than 95 % of the held-out ones; 0.05 where nothing is memorised
    nearest: np.ndarray  # position of each image's nearest training image [N] int64


class Memorisation:
    """In one feature space; distances are Euclidean.

    The share also grows where generated images are alike without being copies, as those of guided or small networks: look at the
    nearest images.  Of more than 50,000 training images an even choice is looked at.
    """

    def __init__(self, reference: Reference, held_out: ImageData) -> None:
        self._reference, self._held_out = reference, held_out
        self._near: float | None = None

    def __call__(self, features: np.ndarray, pulse: Callable[[], None] = lambda: None) -> Memorised:
        """Of generated images' features [N, dim]; `pulse` is called while real images are looked at."""
        training, positions = self._reference.training(pulse)
        if self._near is None:
            distances, _ = _nearest(self._reference.of(self._held_out.images, pulse), training)
            self._near = float(np.quantile(distances, NEAR))
        distances, nearest = _nearest(features, training)
        return Memorised(float((distances < self._near).mean()), positions[nearest])


def _nearest(features: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(distance, row) of the nearest of `among` for each of the features [N, dim]."""
    from sklearn.metrics import pairwise_distances_argmin_min

    rows, distances = pairwise_distances_argmin_min(features.astype(np.float64), among.astype(np.float64))
    return distances, rows
