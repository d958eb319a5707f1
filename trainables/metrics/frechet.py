"""The Fréchet distance between two sets of features (Heusel et al. 2017), float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trainables.errors import ConfigError


class FeatureStatistics:
    """Count, mean and covariance of features, gathered in any number of parts (Chan et al. 1979).

    Up to `dim` samples are kept as they are, which takes less room than their covariance and loses no digits.
    """

    def __init__(self, dim: int) -> None:
        self.dim, self.count = dim, 0
        self.mean: np.ndarray = np.zeros(dim)
        self._rows: np.ndarray | None = np.zeros((0, dim))
        self._scatter = np.zeros((0, 0))  # sum of outer products of deviations from the mean, once there are no rows

    def update(self, features_NxD: Any) -> FeatureStatistics:
        """Take in features [N, dim] (numpy array or CPU tensor); non-finite values are refused."""
        features = np.asarray(features_NxD, dtype=np.float64)
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise ConfigError(f"features of shape {features.shape} were given; [N, {self.dim}] is needed")
        if not np.isfinite(features).all():
            raise ConfigError("features hold NaN or infinity: the images or the feature network are broken")
        return self.merge(self._of(features))

    def merge(self, other: FeatureStatistics) -> FeatureStatistics:
        """Take in another part's statistics; returns self."""
        if other.dim != self.dim:
            raise ConfigError(f"statistics of {other.dim} features cannot be merged into those of {self.dim}")
        total = self.count + other.count
        if not other.count:
            return self
        if self._rows is not None and other._rows is not None and total <= self.dim:
            merged = self._of(np.concatenate([self._rows, other._rows]))
            self._rows, self.mean = merged._rows, merged.mean
        else:
            shift = other.mean - self.mean
            between = np.outer(shift, shift) * (self.count * other.count / total)
            self._scatter = self._moments() + other._moments() + between
            self._rows = None
            self.mean = self.mean + shift * (other.count / total)
        self.count = total
        return self

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance [dim, dim] (ddof 1)."""
        self._enough()
        return self._moments() / (self.count - 1)

    @property
    def total_variance(self) -> float:
        """Trace of the covariance."""
        self._enough()
        return float(np.trace(self._moments())) / (self.count - 1)

    @property
    def thin_factor(self) -> np.ndarray | None:
        """F [dim, count] with F F^T = covariance while the samples are few, otherwise None."""
        self._enough()
        return None if self._rows is None else (self._rows - self.mean).T / np.sqrt(self.count - 1)

    def _moments(self) -> np.ndarray:
        if self._rows is None:
            return self._scatter
        centred = self._rows - self.mean
        return np.asarray(centred.T @ centred)

    def _of(self, rows: np.ndarray) -> FeatureStatistics:
        part = FeatureStatistics(self.dim)
        part.count, part._rows = len(rows), rows
        if part.count:
            part.mean = rows.mean(axis=0)
        return part

    def _enough(self) -> None:
        if self.count < 2:
            raise ConfigError(f"a covariance needs at least 2 samples; there are {self.count}")

    def arrays(self) -> dict[str, np.ndarray]:
        """What `from_arrays` makes the same statistics from."""
        return {"count": np.array([self.count]), "mean": self.mean, "scatter": self._moments()}

    @staticmethod
    def from_arrays(arrays: dict[str, np.ndarray]) -> FeatureStatistics:
        made = FeatureStatistics(len(arrays["mean"]))
        made.count, made.mean, made._scatter, made._rows = int(arrays["count"][0]), arrays["mean"], arrays["scatter"], None
        return made


@dataclass(frozen=True)
class Frechet:
    """A distance, and how it was found."""

    value: float
    route: Literal["gram", "cholesky", "singular values"]
    residue: float  # what the negative eigenvalues, which rounding makes, would add to the distance if they were positive


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2))."""
    return frechet(a, b).value


def frechet(a: FeatureStatistics, b: FeatureStatistics) -> Frechet:
    """The Fréchet distance by the fastest route that is exact for its shapes.

    tr (A B)^(1/2) is the sum of the singular values of F_a^T F_b with A = F_a F_a^T, and of the square roots of the eigenvalues of
    F_a^T B F_a.  With fewer samples than dimensions these matrices are small ("gram").  Otherwise F_a is a Cholesky factor;
    where covariances are so near to singular that square roots of eigenvalues would lose digits, singular values are taken.
    """
    difference = a.mean - b.mean
    cross, route, residue = _cross(a, b)
    value = float(difference @ difference + _trace(a) + _trace(b) - 2.0 * cross)
    return Frechet(value, route, 2.0 * residue)


def influence(features: Any, a: FeatureStatistics, b: FeatureStatistics) -> np.ndarray | None:
    """How much each sample moves the distance, [N]: the mean over a resample of `a`'s N samples is, to first order, the change of the
    distance (infinitesimal jackknife).  None where `a` has too few samples for a covariance of full rank.

    The derivative by A is I - T, with T the linear map that transports the one normal law to the other.
    """
    if a.count <= a.dim:
        return None
    values, vectors = np.linalg.eigh(a.covariance)
    kept = values > len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    root, basis = np.sqrt(values[kept]), vectors[:, kept]
    inner_values, inner = np.linalg.eigh(root[:, None] * (basis.T @ b.covariance @ basis) * root)
    whitened = basis / root
    half = whitened @ inner
    transport = (half * np.sqrt(np.maximum(inner_values, 0.0))) @ half.T
    derivative = np.eye(a.dim) - transport
    z = np.asarray(features, dtype=np.float64) - a.mean
    quadratic = np.einsum("nd,nd->n", z @ derivative, z)
    return np.asarray(2.0 * z @ (a.mean - b.mean) + quadratic - quadratic.mean())


def _cross(a: FeatureStatistics, b: FeatureStatistics) -> tuple[float, Literal["gram", "cholesky", "singular values"], float]:
    """tr (A B)^(1/2), the route, and the sum of the square roots of negative eigenvalues."""
    from scipy.linalg import eigvalsh, svdvals  # half a second that recipes alone need not spend

    f_a, f_b = a.thin_factor, b.thin_factor
    if f_a is not None and f_b is not None:
        return float(svdvals(f_a.T @ f_b).sum()), "gram", 0.0
    if f_a is None and f_b is None:
        route: Literal["gram", "cholesky"] = "cholesky"
        try:  # eigenvalues of B A by a Cholesky factor of A; this driver does half the work of the product written out
            options = {"overwrite_a": True, "overwrite_b": True, "check_finite": False}
            values = eigvalsh(b.covariance, a.covariance, type=2, driver="gv", **options)
        except np.linalg.LinAlgError:
            return _singular_values(a, b)
    else:
        thin = f_a if f_a is not None else f_b
        assert thin is not None
        factor, other = thin, (b if f_a is not None else a).covariance
        route = "gram"
        values = eigvalsh(factor.T @ other @ factor, overwrite_a=True, check_finite=False)
    noise = len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    uncertain = values < 1e4 * noise
    if route == "cholesky" and uncertain.sum() * np.sqrt(noise) > 1e-10 * (_trace(a) + _trace(b)):
        return _singular_values(a, b)
    residue = float(np.sqrt(-values[values < 0]).sum())
    return float(np.sqrt(np.maximum(values, 0.0)).sum()), route, residue


def _singular_values(a: FeatureStatistics, b: FeatureStatistics) -> tuple[float, Literal["singular values"], float]:
    from scipy.linalg import svdvals

    return float(svdvals(_factor(a.covariance).T @ _factor(b.covariance)).sum()), "singular values", 0.0


def _factor(covariance: np.ndarray) -> np.ndarray:
    """F with F F^T = covariance, without the directions that are rounding noise."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    if not kept.any():
        return np.zeros((len(values), 1))
    return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))


def _trace(statistics: FeatureStatistics) -> float:
    thin = statistics.thin_factor
    return float(np.einsum("ij,ij->", thin, thin)) if thin is not None else statistics.total_variance
