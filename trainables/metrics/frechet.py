"""The Fréchet distance between two sets of features (Heusel et al. 2017), float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from trainables.errors import ConfigError


class FeatureStatistics:
    """Count, mean and covariance of features, gathered in any number of parts (Chan et al. 1979)."""

    def __init__(self, dim: int) -> None:
        self.dim, self.count = dim, 0
        self.mean: np.ndarray = np.zeros(dim)
        self._scatter = np.zeros((dim, dim))  # sum of outer products of deviations from the mean

    def update(self, features_NxD: Any) -> FeatureStatistics:
        """Take in features [N, dim] (numpy array or CPU tensor); non-finite values are refused."""
        features = np.asarray(features_NxD, dtype=np.float64)
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise ConfigError(f"features of shape {features.shape} were given; [N, {self.dim}] is needed")
        if not np.isfinite(features).all():
            raise ConfigError("features hold NaN or infinity: the images or the feature network are broken")
        part = FeatureStatistics(self.dim)
        part.count = len(features)
        if part.count:
            part.mean = features.mean(axis=0)
            centred = features - part.mean
            part._scatter = centred.T @ centred
        return self.merge(part)

    def merge(self, other: FeatureStatistics) -> FeatureStatistics:
        """Take in another part's statistics; returns self."""
        total = self.count + other.count
        if other.count:
            shift = other.mean - self.mean
            self._scatter = self._scatter + other._scatter + np.outer(shift, shift) * (self.count * other.count / total)
            self.mean = self.mean + shift * (other.count / total)
            self.count = total
        return self

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance [dim, dim] (ddof 1)."""
        if self.count < 2:
            raise ConfigError(f"a covariance needs at least 2 samples; there are {self.count}")
        return self._scatter / (self.count - 1)


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)).

    tr (A B)^(1/2) is the sum of the singular values of F_a^T F_b with A = F_a F_a^T: exact to rounding also for singular
    covariances (fewer samples than dimensions), where the square root of a matrix product loses half the digits.
    """
    difference = a.mean - b.mean
    cov_a, cov_b = a.covariance, b.covariance
    cross = scipy.linalg.svdvals(_factor(cov_a).T @ _factor(cov_b)).sum()
    return float(difference @ difference + np.trace(cov_a) + np.trace(cov_b) - 2.0 * cross)


def _factor(covariance: np.ndarray) -> np.ndarray:
    """F with F F^T = covariance, without the directions that are rounding noise."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    if not kept.any():
        return np.zeros((len(values), 1))
    return vectors[:, kept] * np.sqrt(values[kept])
