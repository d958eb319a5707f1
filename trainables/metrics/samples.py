"""Metrics that look at the features of single images, beside the Fréchet distance of their moments."""

from __future__ import annotations

from typing import Literal

import numpy as np

from trainables.metrics.features import Extracted
from trainables.metrics.frechet import FeatureStatistics, frechet_distance
from trainables.metrics.kid import kernel_distance

SampleMetric = Literal["kid", "prdc", "inception_score", "frechet_infinity", "memorisation"]

_NEIGHBOURS = 5
_SIZES = 15  # sample sizes from which the Fréchet distance is extrapolated


def sample_metrics(
    wanted: tuple[SampleMetric, ...], made: Extracted, real: np.ndarray, reference: FeatureStatistics, space: str
) -> dict[str, float]:
    """The wanted metrics of generated against real features [N, dim], by name."""
    found: dict[str, float] = {}
    if "kid" in wanted:
        mean, error = kernel_distance(made.features, real)
        found |= {f"kid_{space}": mean, f"kid_{space}_se": error}
    if "prdc" in wanted:
        found |= {f"{name}_{space}": value for name, value in neighbourhoods(made.features, real).items()}
    if "frechet_infinity" in wanted:
        found[f"frechet_infinity_{space}"] = frechet_infinity(made.features, reference)
    if "inception_score" in wanted and made.logits is not None:
        mean, error = inception_score(made.logits)
        found |= {"inception_score": mean, "inception_score_se": error}
    return found


def neighbourhoods(made: np.ndarray, real: np.ndarray, k: int = _NEIGHBOURS) -> dict[str, float]:
    """Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020), with k neighbours."""
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


def frechet_infinity(made: np.ndarray, reference: FeatureStatistics) -> float:
    """The distance at infinitely many samples (Chong & Forsyth 2020): intercept of a line in 1/N through several sample sizes."""
    smallest = max(made.shape[1] + 1, len(made) // 8)
    sizes = np.unique(np.linspace(min(smallest, len(made)), len(made), _SIZES).astype(int))
    order = np.random.default_rng(0).permutation(len(made))
    distances = [frechet_distance(FeatureStatistics(made.shape[1]).update(made[order[:n]]), reference) for n in sizes]
    return float(np.polyfit(1.0 / sizes, distances, 1)[1]) if len(sizes) > 1 else float("nan")


def inception_score(logits: np.ndarray) -> tuple[float, float]:
    """Mean over ten splits (Salimans et al. 2016) and its standard error."""
    import torch
    from torch_fidelity.metric_isc import isc_features_to_metric

    splits = 10
    found = isc_features_to_metric(torch.from_numpy(logits), splits=splits)
    return found["inception_score_mean"], found["inception_score_std"] / np.sqrt(splits)
