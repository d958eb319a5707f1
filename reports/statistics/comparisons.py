"""Differences between variants as ratios of scores, with intervals that hold for all comparisons at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats

from reports.statistics.blocked_model import BlockedModel, SeedScore, fit
from reports.statistics.critical import family_critical, family_p
from reports.statistics.spreads import unequal_p, widest

Family = Literal["baseline", "pairs", "ladder"]
NAMES: dict[Family, str] = {"baseline": "Dunnett", "pairs": "Tukey", "ladder": "Holm"}
ERROR_RATE = 0.05  # of a family of comparisons
_UNEQUAL = 0.02  # p below which variants are taken to have different spreads
_WIDER = 0.1  # p below which one variant's is taken to be larger than the others'


@dataclass(frozen=True)
class Comparison:
    """One variant against another, on log scores; negative differences are improvements."""

    variant: str
    against: str
    difference: float  # of mean log scores
    low: float  # simultaneous 95 % interval
    high: float
    inner_low: float  # simultaneous 90 % interval: both one-sided tests of equivalence at 5 %
    inner_high: float
    p: float  # adjusted for the family
    seeds: int  # in common
    correction: str  # by which it was adjusted

    @property
    def ratio(self) -> float:
        """Of the geometric mean scores; 0.9 is 10 % less."""
        return math.exp(self.difference)


@dataclass(frozen=True)
class Comparisons:
    """A family of comparisons, and how they were made."""

    family: Family
    items: tuple[Comparison, ...]
    model: BlockedModel
    paired: bool  # each from its own paired differences, because spreads differ between variants
    wider: str  # the variant whose spread is larger than the others', so that its comparisons have no narrower intervals; or empty
    unequal_p: float | None  # of the test for different spreads; None where there are too few seeds
    looks: int = 1  # planned looks at the data, which share the error rate

    @property
    def error_rate(self) -> float:
        """Of the family at each look."""
        return ERROR_RATE / self.looks

    @property
    def method(self) -> str:
        """For a caption."""
        if self.paired:
            return "paired differences, each with its own variance; Holm-corrected (spreads differ between variants)"
        own = f"; for {self.wider}, whose spread is larger, paired differences where these say less" if self.wider else ""
        pooled = f"pooled variance with {self.model.freedom} degrees of freedom"
        return f"variant + seed on log scores, {pooled}; {NAMES[self.family]}-corrected{own}"


def compare(scores: Sequence[SeedScore], family: Family, baseline: str, looks: int = 1) -> Comparisons:
    """All comparisons of a family: with the baseline, of all pairs, or of each variant with the one before it.

    Intervals are those of one of several planned `looks` (Bonferroni): they hold at 95 % for all of them together.
    ValueError where there are fewer than two variants, or no degree of freedom: with one seed nothing can be said.
    """
    model = fit(scores)
    pairs = _pairs(model.variants, family, baseline)
    if not pairs:
        raise ValueError("a comparison needs two variants with scores")
    if model.freedom < 1:
        raise ValueError("one seed per variant says nothing about the spread between seeds: train at least two")
    unequal, own = unequal_p(model), _paired(scores, pairs, ERROR_RATE / looks)
    if unequal is not None and unequal < _UNEQUAL and own:
        items = [replace(c, p=p, correction="Holm") for c, p in zip(own, holm([c.p for c in own]), strict=True)]
        return Comparisons(family, tuple(items), model, True, "", unequal, looks)
    items, (name, p) = _pooled(model, pairs, family, ERROR_RATE / looks), widest(model) or ("", 1.0)
    wider = name if p < _WIDER and own else ""
    if wider:
        items = [_wider(a, b, len(pairs)) if wider in (a.variant, a.against) else a for a, b in zip(items, own, strict=True)]
    return Comparisons(family, tuple(items), model, False, wider, unequal, looks)


def _wider(a: Comparison, b: Comparison, count: int) -> Comparison:
    """Of a comparison made in two ways, what says less: the outer ends of both intervals, and the larger p.

    That of the second, one of `count` that have not been adjusted, is Bonferroni's, as its interval is.
    """
    return replace(a, low=min(a.low, b.low), high=max(a.high, b.high), inner_low=min(a.inner_low, b.inner_low),
                   inner_high=max(a.inner_high, b.inner_high), p=max(a.p, min(1.0, count * b.p)), seeds=b.seeds)


def _pairs(variants: tuple[str, ...], family: Family, baseline: str) -> list[tuple[str, str]]:
    """(variant, against) in order."""
    if family == "pairs":
        return [(b, a) for i, a in enumerate(variants) for b in variants[i + 1 :]]
    if family == "ladder":
        return [(b, a) for a, b in itertools.pairwise(variants)]
    return [(v, baseline) for v in variants if v != baseline] if baseline in variants else []


def _pooled(model: BlockedModel, pairs: list[tuple[str, str]], family: Family, error_rate: float) -> list[Comparison]:
    weights = np.array([[(v == a) - (v == b) for v in model.variants] for a, b in pairs], dtype=float)
    found = [model.difference(w) for w in weights]
    statistics = [_ratio(value, error) for value, error in found]
    covariance = weights @ model.unscaled @ weights.T
    scale = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(scale, scale)
    critical, inner = (family_critical(correlation, model.freedom, level) for level in (1 - error_rate, 1 - 2 * error_rate))
    if family == "ladder":
        adjusted = holm([float(2 * stats.t.sf(abs(t), model.freedom)) for t in statistics])
    else:
        adjusted = [family_p(correlation, model.freedom, t) for t in statistics]
    return [
        _comparison(pair, value, error, critical, inner, p, _common(model, *pair), NAMES[family])
        for pair, (value, error), p in zip(pairs, found, adjusted, strict=True)
    ]


def _paired(scores: Sequence[SeedScore], pairs: list[tuple[str, str]], error_rate: float) -> list[Comparison]:
    """Each pair on its own, Bonferroni for intervals and p as it is; empty where a pair has fewer than two common seeds."""
    logs: dict[str, dict[int, float]] = {}
    for s in scores:
        logs.setdefault(s.variant, {})[s.seed] = math.log(s.score)
    found = []
    for a, b in pairs:
        differences = np.array([logs[a][seed] - logs[b][seed] for seed in logs[a].keys() & logs[b].keys()])
        if len(differences) < 2:
            return []
        error, freedom = float(differences.std(ddof=1)) / math.sqrt(len(differences)), len(differences) - 1
        critical, inner = (float(stats.t.ppf(1 - rate / (2 * len(pairs)), freedom)) for rate in (error_rate, 2 * error_rate))
        value = float(differences.mean())
        p = float(2 * stats.t.sf(abs(_ratio(value, error)), freedom))
        found.append(_comparison((a, b), value, error, critical, inner, p, len(differences)))
    return found


def _comparison(pair: tuple[str, str], value: float, error: float, critical: float, inner: float, p: float, seeds: int, correction: str = ""
                ) -> Comparison:
    wide, narrow = critical * error, inner * error
    return Comparison(*pair, value, value - wide, value + wide, value - narrow, value + narrow, p, seeds, correction)


def critical_value(family: Family, variants: int, freedom: int, level: float = 1 - ERROR_RATE) -> float:
    """The two-sided critical value of a balanced design, for planning."""
    if family == "pairs":
        return float(stats.studentized_range.ppf(level, variants, freedom)) / math.sqrt(2)
    count = variants - 1
    if family == "ladder":  # Holm's first step
        return float(stats.t.ppf(1 - (1 - level) / (2 * count), freedom))
    correlation = np.full((count, count), 0.5)
    np.fill_diagonal(correlation, 1.0)
    return family_critical(correlation, freedom, level)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values (Holm 1979), in the order given."""
    order, count = np.argsort(p_values), len(p_values)
    adjusted = np.empty(count)
    adjusted[order] = np.maximum.accumulate(np.asarray(p_values)[order] * (count - np.arange(count)))
    return [float(p) for p in np.minimum(adjusted, 1.0)]


def _common(model: BlockedModel, a: str, b: str) -> int:
    return sum((a, seed) in model.residuals and (b, seed) in model.residuals for seed in model.seeds)


def _ratio(value: float, error: float) -> float:
    return value / error if error else math.copysign(math.inf, value) if value else 0.0
