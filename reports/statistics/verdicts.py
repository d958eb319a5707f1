"""Four verdicts and no others: better, worse, equivalent, cannot tell yet; each as a sentence with its numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from reports.statistics.comparisons import Comparison, Comparisons, critical_value

Word = Literal["better", "worse", "equivalent", "cannot tell yet"]
POWER = 0.8
_MOST_SEEDS = 1000


@dataclass(frozen=True)
class Verdict:
    """What can be said of one comparison."""

    comparison: Comparison
    word: Word
    seeds_needed: int | None  # per variant, to tell a difference of the smallest effect; only where it cannot be told yet, and is known
    sentence: str


def judge(comparisons: Comparisons, smallest_effect: float, metric: str) -> list[Verdict]:
    """A verdict per comparison; `smallest_effect` in (0, 1) is the relative difference that matters, and bounds equivalence."""
    words = [word_of(c, comparisons.error_rate, smallest_effect) for c in comparisons.items]
    usual = seeds_needed(comparisons, smallest_effect) if "cannot tell yet" in words else None
    needed = [usual if word == "cannot tell yet" and not _is_wider(c, comparisons) else None
              for c, word in zip(comparisons.items, words, strict=True)]
    return [
        Verdict(c, word, seeds, _sentence(c, comparisons, word, seeds, smallest_effect, metric))
        for c, word, seeds in zip(comparisons.items, words, needed, strict=True)
    ]


def _is_wider(c: Comparison, family: Comparisons) -> bool:
    """Whether it is of the variant whose spread stands out, so that the pooled one does not say how many seeds it needs."""
    return bool(family.wider) and family.wider in (c.variant, c.against)


def word_of(c: Comparison, error_rate: float, smallest_effect: float) -> Word:
    """The verdict of one comparison, whose intervals are those of the error rate."""
    bound = math.log1p(smallest_effect)
    if c.p < error_rate:
        return "better" if c.difference < 0 else "worse"
    return "equivalent" if -bound < c.inner_low and c.inner_high < bound else "cannot tell yet"


def _sentence(c: Comparison, family: Comparisons, word: Word, needed: int | None, smallest_effect: float, metric: str) -> str:
    low, high = _change(c.low), _change(c.high)
    count = f"{len(family.items)} comparison{'s' if len(family.items) > 1 else ''}"
    if c.correction == "Holm":  # steps down, which intervals cannot: they may contain 0 where p decides
        basis = f"p = {c.p:.2g} by Holm over {count}, {c.seeds} seeds; simultaneous 95 %: {low} to {high}"
    else:
        basis = f"95 %: {low} to {high}, {c.seeds} seeds, {c.correction}-corrected over {count}"
    if family.looks > 1:
        basis += f" and {family.looks} planned looks"
    if word in ("better", "worse"):
        verb = "lowers" if word == "better" else "raises"
        return f"{c.variant} {verb} {metric} by {abs(math.expm1(c.difference)):.1%} against {c.against} ({basis})."
    if word == "equivalent":
        return f"{c.variant} and {c.against} are equivalent within {smallest_effect:.0%} in {metric} ({basis})."
    if _is_wider(c, family):
        more = f"{family.wider} spreads more than the others, so that it takes more seeds than theirs to"
    else:
        more = f"about {needed} seeds per variant would" if needed else f"even {_MOST_SEEDS} seeds would not"
    return (f"It cannot be told yet whether {c.variant} differs from {c.against} in {metric} ({basis}); "
            f"{more} tell a difference of {smallest_effect:.0%}.")


def _change(log_ratio: float) -> str:
    return f"{math.expm1(log_ratio):+.1%}"


def seeds_needed(family: Comparisons, smallest_effect: float, power: float = POWER) -> int | None:
    """Seeds per variant with which a difference of this size is found with this power, from the spread seen so far; None beyond 1000."""
    model, variants = family.model, len(family.model.variants)
    effect = -math.log1p(-smallest_effect) if smallest_effect < 1 else math.inf

    def enough(seeds: int) -> bool:
        freedom = (variants - 1) * (seeds - 1)
        shift = effect / math.sqrt(2 * model.variance / seeds)
        critical = critical_value(family.family, variants, freedom, 1 - family.error_rate)
        return float(stats.nct.sf(critical, freedom, shift)) >= power

    low, high = 1, 2
    while not enough(high):
        low, high = high, 2 * high
        if high > _MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
