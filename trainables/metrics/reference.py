"""The real images' side of every comparison: features, their statistics, kept between runs by (data, extractor)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from filelock import FileLock

from trainables.data import ImageData
from trainables.metrics.features import Features
from trainables.metrics.frechet import FeatureStatistics

_BATCH = 1024
_MOST_SAMPLES = 10_000  # real images that are compared one by one


class Reference:
    """One data set in one feature space."""

    def __init__(self, space: Features, data: ImageData, cache: Path) -> None:
        self.metric, self.space = space.metric, space.space
        self.extract = space.prepare(data, cache)
        self._data, self._cache = data, cache
        self._name = f"{space.space}-{space.key[:16]}-{data.key[:16]}"

    @cached_property
    def statistics(self) -> FeatureStatistics:
        """Moments of the features of all real images."""
        return FeatureStatistics.from_arrays(self._kept("statistics", self._compute_statistics))

    @cached_property
    def real(self) -> np.ndarray:
        """Features of the real images, of an even choice of them if they are very many."""
        return self._kept("features", self._compute_features)["features"]

    def statistics_of(self, features: np.ndarray) -> FeatureStatistics:
        return FeatureStatistics(features.shape[1]).update(features)

    def _compute_statistics(self) -> dict[str, np.ndarray]:
        images = self._data.images
        statistics = self.statistics_of(self.extract(images[:_BATCH]).features)
        for first in range(_BATCH, len(images), _BATCH):
            statistics.update(self.extract(images[first : first + _BATCH]).features)
        return statistics.arrays()

    def _compute_features(self) -> dict[str, np.ndarray]:
        images = self._data.images
        chosen = np.unique(np.linspace(0, len(images) - 1, min(len(images), _MOST_SAMPLES)).astype(int))
        parts = [self.extract(images[chosen[i : i + _BATCH]]).features for i in range(0, len(chosen), _BATCH)]
        return {"features": np.concatenate(parts)}

    def _kept(self, what: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        from safetensors.numpy import load_file, save_file

        from trainables.files import atomic

        path = self._cache / f"{what}-{self._name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                arrays = compute()
                atomic.write_with(path, lambda temporary: save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, temporary))
                return dict(arrays)
        return dict(load_file(path))
