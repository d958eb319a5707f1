"""What a feature extractor is: settings that can turn images into feature vectors."""

from __future__ import annotations

import abc
from collections.abc import Callable
from pathlib import Path

import numpy as np

from trainables.data import ImageData
from trainables.method import Method

Extractor = Callable[[np.ndarray], np.ndarray]  # raw images [N,C,H,W] -> features float32 [N,dim]


class Features(Method, abc.ABC):
    """Made ready once (trained or loaded), then used for every image that is compared."""

    @property
    @abc.abstractmethod
    def metric(self) -> str:
        """Name of the Fréchet distance in this feature space."""

    @abc.abstractmethod
    def prepare(self, data: ImageData, cache: Path) -> Extractor:
        """The extractor for a data set; `cache` is a folder for what is worth keeping between runs."""
