"""The real images' side of every comparison: features, their statistics, kept between runs by (data, feature network)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from trainables.data import ImageData
from trainables.files.cache import cached_arrays
from trainables.metrics.features import Features
from trainables.metrics.frechet import FeatureStatistics, frechet_distance
from trainables.plugins.code import code_of_method
from trainables.randomness import uniform

_BATCH = 1024
_DRAWS = 3
_MOST_SAMPLES = 10_000  # real images that are compared one by one
_MOST_NEIGHBOURS = 50_000  # real images among which the nearest ones are looked for


class Reference:
    """One data set in one feature space; `pulse` is called with each batch of real images."""

    def __init__(self, space: Features, data: ImageData, cache: Path, pulse: Callable[[], None] = lambda: None) -> None:
        self.metric, self.space = space.metric, space.space
        self.extract = space.prepare(data, cache, pulse)
        self.feature_hash = self.extract.hash
        if code := code_of_method(type(space)):  # which may change under the same settings
            self.feature_hash = hashlib.sha256(f"{self.extract.hash} {code}".encode()).hexdigest()
        self._data, self._cache = data, cache
        self._name = f"{space.space}-{self.feature_hash[:16]}-{data.key[:16]}"
        self._statistics: FeatureStatistics | None = None
        self._real: np.ndarray | None = None
        self._training: np.ndarray | None = None

    def statistics(self, pulse: Callable[[], None] = lambda: None) -> FeatureStatistics:
        """Moments of the features of all real images."""
        if self._statistics is None:
            arrays, _ = cached_arrays(self._cache, f"statistics-{self._name}", lambda: self._compute_statistics(pulse), pulse)
            self._statistics = FeatureStatistics.from_arrays(arrays)
        return self._statistics

    def real(self, pulse: Callable[[], None] = lambda: None) -> np.ndarray:
        """Features of the real images, of an even choice of them if they are very many."""
        if self._real is None:
            arrays, _ = cached_arrays(self._cache, f"features-{self._name}", lambda: self._features(_MOST_SAMPLES, pulse), pulse)
            self._real = arrays["features"]
        return self._real

    def training(self, pulse: Callable[[], None] = lambda: None) -> tuple[np.ndarray, np.ndarray]:
        """(features, positions in the data) of the real images among which nearest ones are looked for."""
        chosen = self._choice(_MOST_NEIGHBOURS)
        if len(chosen) == len(self._choice(_MOST_SAMPLES)):
            return self.real(pulse), chosen
        if self._training is None:
            arrays, _ = cached_arrays(self._cache, f"neighbours-{self._name}", lambda: self._features(_MOST_NEIGHBOURS, pulse), pulse)
            self._training = arrays["features"]
        return self._training, chosen

    def floor(self, samples: int, seed: int, pulse: Callable[[], None] = lambda: None) -> float:
        """The distance of so many images that are drawn from the real ones themselves, with replacement: the mean of three draws, or one
        draw where the real images are very many.

        No generator can be expected to score less with so many samples, unless it favours the average image.
        """
        images = self._data.images
        few = len(images) <= _MOST_SAMPLES

        def compute() -> dict[str, np.ndarray]:
            found = []
            for draw in range(_DRAWS if few else 1):
                chosen = np.sort((uniform(seed, f"floor of the distance/{draw}", 0, samples) * len(images)).astype(int))
                features = self.real(pulse)[chosen] if few else self.of(images, pulse, chosen)
                found.append(frechet_distance(self.statistics_of(features), self.statistics(pulse)))
            return {"distances": np.array(found)}

        arrays, _ = cached_arrays(self._cache, f"floor-{samples}-{seed}-{self._name}", compute, pulse)
        return float(arrays["distances"].mean())

    def of(self, images: np.ndarray, pulse: Callable[[], None] = lambda: None, chosen: np.ndarray | None = None) -> np.ndarray:
        """Features of raw images, of all or the chosen ones."""
        positions = np.arange(len(images)) if chosen is None else chosen
        parts = []
        for first in range(0, len(positions), _BATCH):
            parts.append(self.extract(images[positions[first : first + _BATCH]]).features)
            pulse()
        return np.concatenate(parts)

    def statistics_of(self, features: np.ndarray) -> FeatureStatistics:
        return FeatureStatistics(features.shape[1]).update(features)

    def _compute_statistics(self, pulse: Callable[[], None]) -> dict[str, np.ndarray]:
        images = self._data.images
        statistics = self.statistics_of(self.extract(images[:_BATCH]).features)
        for first in range(_BATCH, len(images), _BATCH):
            statistics.update(self.extract(images[first : first + _BATCH]).features)
            pulse()
        return statistics.arrays()

    def _choice(self, most: int) -> np.ndarray:
        images = self._data.images
        return np.unique(np.linspace(0, len(images) - 1, min(len(images), most)).astype(int))

    def _features(self, most: int, pulse: Callable[[], None]) -> dict[str, np.ndarray]:
        return {"features": self.of(self._data.images, pulse, self._choice(most))}
