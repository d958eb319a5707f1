"""The real images' side of every comparison: features, their statistics, kept between runs by (data, feature network)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from trainables.data import ImageData
from trainables.files.cache import cached_arrays
from trainables.metrics.features import Features
from trainables.metrics.frechet import FeatureStatistics

_BATCH = 1024
_MOST_SAMPLES = 10_000  # real images that are compared one by one


class Reference:
    """One data set in one feature space; `pulse` is called with each batch of real images."""

    def __init__(self, space: Features, data: ImageData, cache: Path, pulse: Callable[[], None] = lambda: None) -> None:
        self.metric, self.space = space.metric, space.space
        self.extract = space.prepare(data, cache, pulse)
        self.feature_hash = self.extract.hash
        self._data, self._cache = data, cache
        self._name = f"{space.space}-{self.feature_hash[:16]}-{data.key[:16]}"
        self._statistics: FeatureStatistics | None = None
        self._real: np.ndarray | None = None

    def statistics(self, pulse: Callable[[], None] = lambda: None) -> FeatureStatistics:
        """Moments of the features of all real images."""
        if self._statistics is None:
            arrays, _ = cached_arrays(self._cache, f"statistics-{self._name}", lambda: self._compute_statistics(pulse), pulse)
            self._statistics = FeatureStatistics.from_arrays(arrays)
        return self._statistics

    def real(self, pulse: Callable[[], None] = lambda: None) -> np.ndarray:
        """Features of the real images, of an even choice of them if they are very many."""
        if self._real is None:
            arrays, _ = cached_arrays(self._cache, f"features-{self._name}", lambda: self._compute_features(pulse), pulse)
            self._real = arrays["features"]
        return self._real

    def statistics_of(self, features: np.ndarray) -> FeatureStatistics:
        return FeatureStatistics(features.shape[1]).update(features)

    def _compute_statistics(self, pulse: Callable[[], None]) -> dict[str, np.ndarray]:
        images = self._data.images
        statistics = self.statistics_of(self.extract(images[:_BATCH]).features)
        for first in range(_BATCH, len(images), _BATCH):
            statistics.update(self.extract(images[first : first + _BATCH]).features)
            pulse()
        return statistics.arrays()

    def _compute_features(self, pulse: Callable[[], None]) -> dict[str, np.ndarray]:
        images = self._data.images
        chosen = np.unique(np.linspace(0, len(images) - 1, min(len(images), _MOST_SAMPLES)).astype(int))
        parts = []
        for first in range(0, len(chosen), _BATCH):
            parts.append(self.extract(images[chosen[first : first + _BATCH]]).features)
            pulse()
        return {"features": np.concatenate(parts)}
