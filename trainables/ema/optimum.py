"""The best EMA length: where a curve of scores against log sigma_rel is lowest, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_COARSE = 5  # evaluations before the curve's shape is used
_NEAR = 0.04  # a width within 4 % of one that was evaluated tells nothing new
_WINDOW = math.log(1.7)  # points within this factor of the best one decide the parabola (and at least its neighbours)
_REPLICATES = 1000


@dataclass(frozen=True)
class Scored:
    """A width and its score; `influence` [N] of single images on it, on the same latents for every width."""

    sigma_rel: float
    value: float
    influence: np.ndarray | None = None


@dataclass(frozen=True)
class Optimum:
    """Vertex of the local parabola in log sigma_rel with its 95 % interval (NaN where scores have no influence)."""

    sigma_rel: float
    low: float
    high: float
    best: Scored  # the lowest score that was measured


def search_length(evaluate: Callable[[float], Scored], low: float, high: float, evaluations: int) -> list[Scored]:
    """At most so many scores of widths in [low, high], most of them near the lowest; in the order of evaluation.

    A coarse grid, then the vertex of the parabola through the lowest point and its neighbours, until the vertex has been
    evaluated; at the edge of the range, the middle of the outermost gap.
    """
    scored = [evaluate(float(width)) for width in np.geomspace(low, high, min(_COARSE, evaluations))]
    while len(scored) < evaluations:
        wanted = _next_width(scored)
        if wanted is None:
            break
        scored.append(evaluate(wanted))
    return scored


def locate(scored: Sequence[Scored], seed: int = 0) -> Optimum:
    """The optimum of a curve; its interval from the scores' joint sampling error, which common latents make small.

    Scores are redrawn from the normal law with the covariance of their influences (a bootstrap over images to first order).
    """
    points = sorted(scored, key=lambda p: p.sigma_rel)
    x = np.log([p.sigma_rel for p in points])
    values = np.array([p.value for p in points])
    best = points[int(values.argmin())]
    vertex = _vertex(x, values)
    influences = [p.influence for p in points if p.influence is not None]
    if len(influences) < len(points):
        return Optimum(math.exp(vertex), math.nan, math.nan, best)
    stacked = np.stack(influences)
    covariance = np.atleast_2d(np.cov(stacked)) / stacked.shape[1]
    draws = np.random.default_rng(seed).multivariate_normal(values, covariance, size=_REPLICATES, method="eigh")
    low, high = np.exp(np.quantile([_vertex(x, row) for row in draws], [0.025, 0.975]))
    return Optimum(math.exp(vertex), float(low), float(high), best)


def _next_width(scored: Sequence[Scored]) -> float | None:
    """Where to look next; None when the vertex is known well enough."""
    points = sorted(scored, key=lambda p: p.sigma_rel)
    x = np.log([p.sigma_rel for p in points])
    values = np.array([p.value for p in points])
    i = int(values.argmin())
    if i in (0, len(x) - 1):
        j = 1 if i == 0 else i - 1
        candidates = [(x[i] + x[j]) / 2]
    else:
        three = slice(i - 1, i + 2)
        # When the vertex is known, the wider of the two gaps beside it says most about the parabola.
        gaps = sorted([(x[i] - x[i - 1], (x[i] + x[i - 1]) / 2), (x[i + 1] - x[i], (x[i] + x[i + 1]) / 2)], reverse=True)
        candidates = [_parabola(x[three], values[three]), gaps[0][1]]
    for candidate in candidates:
        if np.abs(x - candidate).min() > _NEAR:
            return float(math.exp(candidate))
    return None


def _vertex(x: np.ndarray, values: np.ndarray) -> float:
    """Of the parabola through the points around the lowest one, within their range."""
    i = int(values.argmin())
    near = np.abs(x - x[i]) <= _WINDOW
    near[max(i - 1, 0) : i + 2] = True
    return _parabola(x[near], values[near])


def _parabola(x: np.ndarray, values: np.ndarray) -> float:
    lowest = float(x[values.argmin()])
    if len(x) < 3:
        return lowest
    a, b, _ = np.polyfit(x - lowest, values, 2)
    return lowest if a <= 0 else float(np.clip(lowest - b / (2 * a), x.min(), x.max()))
