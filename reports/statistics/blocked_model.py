"""The two-way additive model: log score = variant + seed + error, with one error variance for all variants.

The same seed means the same initial weights, data order, noise and evaluation latents in every variant, so that seeds are blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SeedScore:
    """One trained network's score, which is positive and the lower the better."""

    variant: str
    seed: int
    score: float


@dataclass(frozen=True)
class BlockedModel:
    """Least squares on log scores, balanced or not."""

    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    means: np.ndarray  # [V], log scores of the variants, averaged over the seeds
    unscaled: np.ndarray  # [V,V], covariance of the means over the error variance
    variance: float  # of the error, of one log score; NaN without degrees of freedom
    freedom: int  # degrees of freedom of the variance
    residuals: dict[tuple[str, int], float]

    def difference(self, weights: np.ndarray) -> tuple[float, float]:
        """(value, standard error) of a contrast of the means; `weights` [V] sum to zero."""
        return float(weights @ self.means), math.sqrt(float(weights @ self.unscaled @ weights) * self.variance)


def fit(scores: Sequence[SeedScore]) -> BlockedModel:
    """ValueError without scores, where one is not positive and finite, or where two variants have no seed in common, not even by way
    of others.
    """
    if not scores:
        raise ValueError("no scores were given")
    if bad := [s for s in scores if not (math.isfinite(s.score) and s.score > 0)]:
        raise ValueError(f"scores must be positive and finite: variant {bad[0].variant}, seed {bad[0].seed} has {bad[0].score}")
    variants, seeds = tuple(dict.fromkeys(s.variant for s in scores)), tuple(sorted({s.seed for s in scores}))
    count, matrix = len(variants), design_matrix([(s.variant, s.seed) for s in scores])
    if np.linalg.matrix_rank(matrix) < matrix.shape[1]:
        raise ValueError("the variants have no seeds in common: train each variant on the same seeds")
    logs = np.log([s.score for s in scores])
    inverse = np.linalg.inv(matrix.T @ matrix)
    effects = inverse @ matrix.T @ logs
    errors, freedom = logs - matrix @ effects, len(scores) - matrix.shape[1]
    variance = float(errors @ errors) / freedom if freedom else math.nan
    residuals = {(s.variant, s.seed): float(e) for s, e in zip(scores, errors, strict=True)}
    return BlockedModel(variants, seeds, effects[:count], inverse[:count, :count], variance, freedom, residuals)


def design_matrix(cells: Sequence[tuple[str, int]]) -> np.ndarray:
    """A row per score of a variant and seed; a column per variant, in order, and one less than there are seeds [N, V + S - 1]."""
    variants, seeds = list(dict.fromkeys(variant for variant, _ in cells)), sorted({seed for _, seed in cells})
    count = len(variants)
    matrix = np.zeros((len(cells), count + len(seeds)))
    for row, (variant, seed) in enumerate(cells):
        matrix[row, variants.index(variant)] = matrix[row, count + seeds.index(seed)] = 1.0
    matrix[:, count:] -= 1.0 / len(seeds)  # seed effects sum to zero over the seeds, so that a variant's effect is its mean
    return np.hstack([matrix[:, :count], matrix[:, count:] @ _contrasts(len(seeds))])


def _contrasts(count: int) -> np.ndarray:
    """Orthonormal columns [count, count - 1] that sum to zero."""
    centred = np.eye(count) - 1.0 / count
    return np.linalg.svd(centred)[0][:, : count - 1]


def pairing(scores: Sequence[SeedScore]) -> float | None:
    """Mean correlation of log scores between variants over their common seeds; None below three common seeds.

    Where it is near zero, using the same seeds has gained nothing.
    """
    table = {(s.variant, s.seed): math.log(s.score) for s in scores}
    variants = list(dict.fromkeys(s.variant for s in scores))
    common = [seed for seed in {s.seed for s in scores} if all((v, seed) in table for v in variants)]
    if len(variants) < 2 or len(common) < 3:
        return None
    values = np.array([[table[v, seed] for seed in common] for v in variants])
    if (values.std(axis=1) == 0).any():
        return None
    correlations = np.corrcoef(values)[np.triu_indices(len(variants), 1)]
    return float(correlations.mean())
