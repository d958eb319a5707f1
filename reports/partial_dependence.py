"""What a searched parameter does to the score, on average over what the other parameters were (Friedman 2001), by a random forest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.results import TrialResult
from search_spaces.distributions import Categorical, Distribution, Scalar
from search_spaces.space import choose

FEWEST = 20  # completed trials; a forest of fewer says little
_TREES, _POINTS, _MOST_ROWS = 100, 15, 200
_ABSENT = -1.0  # share of a parameter that is not searched under a trial's other values


@dataclass(frozen=True)
class PartialDependence:
    """At each value: the geometric mean of the scores that the forest expects, and the range of 95 % of its trees."""

    values: list[Scalar]
    mean: list[float]
    low: list[float]
    high: list[float]


def partial_dependences(space: Mapping[str, Distribution], trials: Sequence[TrialResult]) -> dict[str, PartialDependence]:
    """By path; of completed trials with positive scores and values of this space.  Empty where there are fewer than 20 of them.

    The forest (scikit-learn's, 100 trees) learns log scores from each parameter's share of its range.  Choices that no trial had are
    left out.  Where a value switches another parameter on that a trial did not have, the other counts with the middle of what was tried.
    """
    done = [t for t in trials if t.best is not None and 0 < t.best < math.inf
            and all(d.contains(t.values[path]) for path, d in space.items() if path in t.values)]
    if len(done) < FEWEST or not space:
        return {}
    from sklearn.ensemble import RandomForestRegressor

    chosen = [{path: t.values[path] for path in space if path in t.values} for t in done]
    shares = np.array([_shares(space, values) for values in chosen])
    forest = RandomForestRegressor(_TREES, min_samples_leaf=2, random_state=0).fit(shares, np.log([t.best or 0.0 for t in done]))
    middle = {path: float(np.median(column[column >= 0])) for path, column in zip(space, shares.T, strict=True) if (column >= 0).any()}
    rows = chosen[:: -(-len(chosen) // _MOST_ROWS)]
    return {path: _of(path, space, rows, middle, forest) for path in space if any(path in values for values in rows)}


def _of(path: str, space: Mapping[str, Distribution], rows: Sequence[dict[str, Any]], middle: Mapping[str, float], forest: Any
        ) -> PartialDependence:
    having = [row for row in rows if path in row]
    values = [value for value in dict.fromkeys(space[path].grid(_POINTS))
              if not isinstance(space[path], Categorical) or any(row[path] == value for row in having)]
    inputs = np.array([_shares(space, {**row, path: value}, middle) for value in values for row in having])
    trees = np.array([tree.predict(inputs).reshape(len(values), len(having)).mean(1) for tree in forest.estimators_])
    low, high = np.exp(np.percentile(trees, [2.5, 97.5], axis=0))
    return PartialDependence(values, np.exp(trees.mean(0)).tolist(), low.tolist(), high.tolist())


def _shares(space: Mapping[str, Distribution], values: dict[str, Any], middle: Mapping[str, float] | None = None) -> list[float]:
    """Of each parameter; `middle` is the share that parameters have which apply and have no value."""
    shares: dict[str, float] = {}

    def value_of(path: str) -> Scalar:
        share = space[path].share_of(values[path]) if path in values else (middle or {}).get(path, _ABSENT)
        shares[path] = share
        return values[path] if path in values else space[path].at(share) if share >= 0 else None

    choose(space, value_of)
    return [shares.get(path, _ABSENT) for path in space]
