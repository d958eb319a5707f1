"""Precision, recall, density and coverage."""

from __future__ import annotations

from typing import Literal

import numpy as np

from trainables.metrics.per_sample.sample_metric import Compared, SampleMetric

_NEIGHBOURS = 5


class Prdc(SampleMetric):
    """Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020), with five neighbours."""

    kind: Literal["prdc"] = "prdc"

    def names(self, space: str) -> tuple[str, ...]:
        return tuple(f"{name}_{space}" for name in ("precision", "recall", "density", "coverage"))

    def of(self, images: Compared) -> dict[str, float]:
        return {f"{name}_{images.space}": value for name, value in neighbourhoods(images.made.features, images.real).items()}


def neighbourhoods(made: np.ndarray, real: np.ndarray, k: int = _NEIGHBOURS) -> dict[str, float]:
    """Precision, recall, density and coverage of generated against real features [N, dim], with k neighbours."""
    from sklearn.metrics import pairwise_distances
    from sklearn.neighbors import NearestNeighbors

    radius_real, radius_made = (
        NearestNeighbors(n_neighbors=k).fit(x).kneighbors()[0][:, -1] for x in (real.astype(np.float64), made.astype(np.float64))
    )
    distance = pairwise_distances(real, made)
    inside_real = distance < radius_real[:, None]
    return {
        "precision": float(inside_real.any(axis=0).mean()), "recall": float((distance < radius_made[None]).any(axis=1).mean()),
        "density": float(inside_real.sum(axis=0).mean() / k), "coverage": float((distance.min(axis=1) < radius_real).mean()),
    }
