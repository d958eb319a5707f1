"""Several comparisons at once: critical values and p-values from the joint distribution of their t statistics."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import stats

_LOG2_POINTS = 15  # of the Sobol points; critical values are right to about 0.01
_TAIL = 0.002  # p-values below it are Bonferroni's, which is exact in the tail, where points are few


def family_critical(correlation: np.ndarray, freedom: int, level: float) -> float:
    """c with P(all |T_i| <= c) = level for t statistics with this correlation [K,K]: Dunnett's value for comparisons with one baseline."""
    if len(correlation) == 1:
        return float(stats.t.ppf((1 + level) / 2, freedom))
    return float(np.quantile(_largest(*_key(correlation), freedom), level))


def family_p(correlation: np.ndarray, freedom: int, statistic: float) -> float:
    """P(max |T_i| >= |statistic|): the p-value of one comparison, adjusted for the others."""
    single = float(2 * stats.t.sf(abs(statistic), freedom))
    bound = min(1.0, len(correlation) * single)
    if len(correlation) == 1 or bound < _TAIL:
        return bound
    sample = _largest(*_key(correlation), freedom)
    share = 1.0 - float(np.searchsorted(sample, abs(statistic))) / len(sample)
    return min(max(share, single), bound)


def _key(correlation: np.ndarray) -> tuple[tuple[float, ...], int]:
    return tuple(np.round(correlation, 6).ravel().tolist()), len(correlation)


@lru_cache(maxsize=256)
def _largest(correlation: tuple[float, ...], count: int, freedom: int) -> np.ndarray:
    """Sorted draws of max |T_i| by quasi-Monte Carlo, always the same ones."""
    normal, share = _normal(correlation, count)
    return np.sort(normal / np.sqrt(stats.chi2.ppf(share, freedom) / freedom))


@lru_cache(maxsize=8)
def _normal(correlation: tuple[float, ...], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws of max |Z_i| for normal Z with this correlation, which may be singular, and of an independent uniform number."""
    values, vectors = np.linalg.eigh(np.array(correlation).reshape(count, count))
    points = stats.qmc.Sobol(count + 1, rng=np.random.default_rng(0)).random_base2(_LOG2_POINTS)
    normal = stats.norm.ppf(points[:, :count]) @ (vectors * np.sqrt(np.clip(values, 0, None))).T
    return np.abs(normal).max(axis=1), points[:, count]
