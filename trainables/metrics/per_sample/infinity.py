"""The Fréchet distance at infinitely many samples."""

from __future__ import annotations

from typing import Literal

import numpy as np

from trainables.metrics.frechet import FeatureStatistics, frechet_distance
from trainables.metrics.per_sample.sample_metric import Compared, SampleMetric

_SIZES = 15  # sample sizes from which the distance is extrapolated


class FrechetInfinity(SampleMetric):
    """The distance at infinitely many samples (Chong & Forsyth 2020), extrapolated from fifteen sample sizes."""

    kind: Literal["frechet_infinity"] = "frechet_infinity"

    def names(self, space: str) -> tuple[str, ...]:
        return (f"frechet_infinity_{space}",)

    def of(self, images: Compared) -> dict[str, float]:
        return {f"frechet_infinity_{images.space}": frechet_infinity(images.made.features, images.reference)}


def frechet_infinity(made: np.ndarray, reference: FeatureStatistics) -> float:
    """Intercept of a line in 1/N through the distances of several sample sizes; NaN where there is one size alone."""
    smallest = max(made.shape[1] + 1, len(made) // 8)
    sizes = np.unique(np.linspace(min(smallest, len(made)), len(made), _SIZES).astype(int))
    order = np.random.default_rng(0).permutation(len(made))
    distances = [frechet_distance(FeatureStatistics(made.shape[1]).update(made[order[:n]]), reference) for n in sizes]
    return float(np.polyfit(1.0 / sizes, distances, 1)[1]) if len(sizes) > 1 else float("nan")
