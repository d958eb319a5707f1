"""Seeds where the order is undecided: planned looks, after each of which variants that are decided get no more seeds.

Each look makes all comparisons of the family at 5 % over the number of looks (Bonferroni).  A verdict stands from the look at which
it is first reached.  By the union bound the chance of any wrong verdict is at most 5 %, whatever rule stops seeds
between the looks.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from reports.statistics.blocked_model import SeedScore
from reports.statistics.comparisons import Comparison, Comparisons, Family, compare
from reports.statistics.verdicts import word_of


@dataclass(frozen=True)
class Race:
    """What the looks so far have come to."""

    seeds: int  # at the last look that was had
    comparisons: Comparisons  # each as of the look that decided it, or else of the last one
    undecided: frozenset[str]  # variants whose verdicts are not all known


def race(scores: Sequence[SeedScore], ended: Collection[tuple[str, int]], seeds: Sequence[int], looks: Sequence[int], family: Family,
         baseline: str, smallest_effect: float) -> Race:
    """All looks that can be had, in order.

    A look can be had once every undecided variant has ended, scored or failed, on the first `looks[i]` of the `seeds`; `ended` names them
    as (variant, seed).  ValueError before the first one, and where nothing can be compared at it.
    """
    planned = (*looks, len(seeds))
    kept: dict[tuple[str, str], Comparison] = {}
    decided: set[tuple[str, str]] = set()
    undecided = frozenset(variant for variant, _ in ended)
    found: Race | None = None
    for count in planned:
        known = set(seeds[:count])
        if not undecided or any((variant, seed) not in ended for variant in undecided for seed in known):
            break
        seen = compare([s for s in scores if s.seed in known], family, baseline, len(planned))
        fresh = {_pair(c): c for c in seen.items if _pair(c) not in decided}
        kept |= fresh
        decided |= {pair for pair, c in fresh.items() if word_of(c, seen.error_rate, smallest_effect) != "cannot tell yet"}
        undecided = frozenset(variant for pair in kept.keys() - decided for variant in pair)
        found = Race(count, replace(seen, items=tuple(kept.values())), undecided)
    if not found:
        raise ValueError(f"the first look is after {planned[0]} seeds of each variant")
    return found


def _pair(c: Comparison) -> tuple[str, str]:
    return c.variant, c.against
