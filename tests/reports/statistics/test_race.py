"""Racing: planned looks keep their error rate whatever they stop, and save seeds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from reports.statistics.blocked_model import SeedScore
from reports.statistics.comparisons import Comparisons, Family, compare
from reports.statistics.race import Race, race
from reports.statistics.verdicts import judge
from tests.reports.statistics.test_comparisons import drawn

LOOKS, SEEDS = (3, 5), range(8)
RACES = 200


def run(scores: list[SeedScore], family: Family = "baseline", smallest_effect: float = 0.05) -> tuple[Race, int]:
    """(the race at its end, networks trained): seeds are shown to undecided variants alone, as the design trains them."""
    shown: list[SeedScore] = []
    undecided, before, found = {s.variant for s in scores}, 0, None
    for count in (*LOOKS, len(SEEDS)):
        shown += [s for s in scores if s.variant in undecided and before <= s.seed < count]
        found, before = race(shown, {(s.variant, s.seed) for s in shown}, SEEDS, LOOKS, family, "v0", smallest_effect), count
        undecided = set(found.undecided)
    assert found
    return found, len(shown)


def differ(comparisons: Comparisons) -> bool:
    """Whether any verdict is better or worse."""
    return any(c.p < comparisons.error_rate for c in comparisons.items)


@pytest.mark.parametrize(("family", "spread"), [("baseline", 0.1), ("pairs", 0.1), ("ladder", 0.1), ("baseline", [0.05, 0.1, 0.2, 0.3])])
def test_of_equal_variants_few_are_called_different(family: Family, spread: float | list[float]) -> None:
    """At most 5 % of races, within four standard errors; `slow` below has the whole table."""
    rng = np.random.default_rng(0)
    wrong = sum(
        differ(run(drawn(rng, [0.0] * 4, 8, spread), family)[0].comparisons) for _ in range(RACES)
    )
    assert wrong <= 0.05 * RACES + 4 * np.sqrt(RACES * 0.05 * 0.95)


def test_looking_without_a_plan_would_be_wrong_more_often() -> None:
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(RACES):
        scores = drawn(rng, [0.0] * 4, 8)
        tables = [compare([s for s in scores if s.seed < count], "baseline", "v0") for count in range(2, 9)]
        wrong += any(map(differ, tables))
    assert wrong > 0.09 * RACES


def test_what_differs_clearly_gets_few_seeds_and_the_rest_all() -> None:
    rng = np.random.default_rng(2)
    found, trained = run(drawn(rng, [0.0, 1.0, -1.0, 0.03], 8))
    words = {v.comparison.variant: (v.word, v.comparison.seeds) for v in judge(found.comparisons, 0.05, "fd")}
    assert words == {"v1": ("worse", 3), "v2": ("better", 3), "v3": ("cannot tell yet", 8)}
    assert trained == 2 * 3 + 2 * 8 and found.seeds == 8 and found.undecided == {"v0", "v3"}
    assert "8 seeds, Dunnett-corrected over 3 comparisons and 3 planned looks" in judge(found.comparisons, 0.05, "fd")[-1].sentence


def test_equivalent_variants_end_the_race_too() -> None:
    found, trained = run(drawn(np.random.default_rng(3), [0.0, 0.001, 0.4], 8, spread=0.003))
    assert not found.undecided and found.seeds == 3 and trained == 9


def test_a_verdict_stands_whatever_later_seeds_say() -> None:
    """The first look decides; a reversal in later seeds, which the race would not train, changes nothing."""
    scores = drawn(np.random.default_rng(4), [0.0, -1.0, 0.0], 8)
    later = [SeedScore(s.variant, s.seed, s.score * (99 if s.variant == "v1" and s.seed >= 3 else 1)) for s in scores]
    found = race(later, {(s.variant, s.seed) for s in later}, SEEDS, LOOKS, "baseline", "v0", 0.05)
    first = next(c for c in found.comparisons.items if c.variant == "v1")
    assert first.seeds == 3 and first.difference == pytest.approx(-1, abs=0.3)


def test_a_verdict_says_by_what_correction_it_was_reached_whatever_later_looks_use() -> None:
    """Spreads are equal at the first look, which decides v1; at the last one they differ, so that v2 is compared by itself."""
    rng = np.random.default_rng(16)
    early = drawn(rng, [0.0, -2.0, 0.0, 0.0], 3, spread=0.05)
    late = [SeedScore(s.variant, s.seed + 3, s.score * (math.exp(rng.normal(0, 2.0)) if s.variant == "v2" else 1.0))
            for s in drawn(rng, [0.0, -2.0, 0.0, 0.0], 37, spread=0.05) if s.variant != "v1"]
    scores = [*early, *late]
    found = race(scores, [(s.variant, s.seed) for s in scores], range(40), [3], "baseline", "v0", 0.01)
    assert found.seeds == 40 and found.comparisons.paired
    assert {c.variant: c.correction for c in found.comparisons.items} == {"v1": "Dunnett", "v2": "Holm", "v3": "Holm"}
    first, second, _ = judge(found.comparisons, 0.01, "fd_probe")
    assert "Dunnett-corrected" in first.sentence and "by Holm" in second.sentence


def test_a_look_is_had_when_all_its_seeds_have_ended_scored_or_not() -> None:
    scores = drawn(np.random.default_rng(5), [0.0, 0.0, 0.0], 8)
    three = [s for s in scores if s.seed < 3]
    ended = set(itertools.product(("v0", "v1", "v2"), range(3)))
    whole = race(three, ended, SEEDS, LOOKS, "baseline", "v0", 0.05)
    further = race([s for s in scores if s.seed < 4], ended | {("v0", 3)}, SEEDS, LOOKS, "baseline", "v0", 0.05)
    assert further.seeds == 3 and further.comparisons.items == whole.comparisons.items
    holed = [s for s in three if (s.variant, s.seed) != ("v2", 1)]  # failed: an outcome
    assert race(holed, ended, SEEDS, LOOKS, "baseline", "v0", 0.05).seeds == 3
    with pytest.raises(ValueError, match="the first look is after 3 seeds"):
        race(holed, ended - {("v2", 1)}, SEEDS, LOOKS, "baseline", "v0", 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("variants", [2, 4, 10])
@pytest.mark.parametrize("unequal", [False, True])
def test_the_whole_table_of_error_rates(variants: int, unequal: bool) -> None:
    """True differences of 0 to 30 %: a race's signs are wrong in at most 5 %, and it costs less than training all seeds."""
    rng = np.random.default_rng(variants)
    wrong = cost = 0
    for _ in range(1000):
        effects = [0.0, *rng.choice([0.0, 0.0, 0.1, -0.3], variants - 1)]
        found, trained = run(drawn(rng, effects, 8, list(rng.uniform(0.03, 0.2, variants)) if unequal else 0.1))
        cost += trained
        wrong += any(
            c.p < found.comparisons.error_rate and (effects[int(c.variant[1])] or -c.difference) * c.difference <= 0
            for c in found.comparisons.items
        )
    assert wrong <= 50 + 3 * np.sqrt(1000 * 0.05 * 0.95)
    assert cost < 1000 * 8 * variants
