"""The proxy search against a score whose best allocation is known, and its rounds as functions of the memory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import pytest

from trainables.errors import ConfigError
from trainables.experts.allocation import TOLERANCE
from trainables.experts.macs import MacsByWidth
from trainables.experts.proxy import Found, Proxy, Row, Widths, directions_of, propose, search

BLOCKS = [f"encoder/8_block{i}/hidden" for i in range(4)]
COST = MacsByWidth(1_000, dict.fromkeys(BLOCKS, 100), dict.fromkeys(BLOCKS, 64))
BUDGET = 0.6 * COST.full
SCORES = {block: [1.0 + index / 64 for index in range(64)] for block in BLOCKS}  # a criterion that sees no difference
NEEDED = dict(zip(BLOCKS, (1.0, 0.9, 0.3, 0.2), strict=True))  # shares of units that matter


def loss(widths: Widths) -> float:
    """What is kept below the need costs its square."""
    return sum(max(need - widths.get(block, 64) / 64, 0.0) ** 2 for block, need in NEEDED.items())


def score_round(candidates: Sequence[Widths]) -> list[float]:
    return [loss(widths) for widths in candidates]


def run(proxy: Proxy, score=score_round, **more) -> Found:
    return search(proxy, COST, BUDGET, SCORES, score, multiple=2, **more)


def test_the_search_finds_more_than_its_baselines_within_the_budget() -> None:
    found = run(Proxy(rounds=10, per_round=8))
    assert found.best.score < 0.5 * min(row.score for row in found.rows if row.origin in ("uniform", "greedy"))
    assert found.gain_over("uniform") > 0 and found.gain_over("greedy") > 0
    for row in found.rows:
        assert abs(COST(row.widths) - BUDGET) <= TOLERANCE * BUDGET
    assert found.evaluations <= 80


def test_the_first_candidates_are_the_baselines_then_the_memory() -> None:
    remembered = Row(3, 1, "sampler", dict(zip(BLOCKS, (0.0, 0.1, 1.0, 1.0), strict=True)), {}, 0.1, True)
    of_another_network = dataclasses.replace(remembered, directions={"decoder/4_in0/heads": 1.0})
    failed = dataclasses.replace(remembered, score=None, directions=dict.fromkeys(BLOCKS, 0.5))
    found = run(Proxy(rounds=2, per_round=2), memory=[failed, remembered, remembered, of_another_network])
    assert [row.origin for row in found.rows] == ["uniform", "greedy", "memory", "sampler"]
    assert found.rows[2].directions == remembered.directions


@pytest.mark.parametrize("rounds", [0, 1, 2, 3])
def test_a_search_goes_on_from_any_round(rounds: int) -> None:
    proxy, kept = Proxy(rounds=4, per_round=3), []
    whole = run(proxy, keep=lambda rows: kept.append(list(rows)))
    assert len(kept) == 4
    begun = kept[rounds - 1] if rounds else []
    scored = []

    def count(candidates: Sequence[Widths]) -> list[float]:
        scored.extend(candidates)
        return score_round(candidates)

    assert run(proxy, count, history=[*begun, *whole.rows[len(begun) : len(begun) + 1]]) == whole  # a round that was cut off is new
    assert len(scored) == sum(row.evaluated for row in whole.rows[len(begun) :])


def test_a_round_depends_on_earlier_rounds_alone() -> None:
    proxy = Proxy(rounds=3, per_round=3)
    rows = run(proxy).rows
    assert propose(proxy, BLOCKS, rows, 1) == propose(proxy, BLOCKS, rows[:3], 1)
    assert propose(proxy, BLOCKS, rows, 2) != propose(proxy, BLOCKS, rows[:3], 2)
    assert propose(proxy.model_copy(update={"seed": 1}), BLOCKS, rows, 1) != propose(proxy, BLOCKS, rows, 1)


def test_equal_candidates_are_scored_once() -> None:
    seen = []

    def score(candidates: Sequence[Widths]) -> list[float]:
        seen.extend(tuple(sorted(c.items())) for c in candidates)
        return score_round(candidates)

    proxy = Proxy(rounds=6, per_round=6)
    found = search(proxy, COST, 17_000, SCORES, score, multiple=32)  # few different widths
    assert len(seen) == len(set(seen)) == found.evaluations < len(found.rows)
    assert all(row.score == loss(row.widths) for row in found.rows if row.widths)


def test_failures_are_remembered_and_never_chosen() -> None:
    calls = iter(range(1_000))
    found = run(Proxy(rounds=3, per_round=4), lambda candidates: [math.nan if next(calls) % 2 else loss(w) for w in candidates])
    assert any(row.score is None for row in found.rows) and found.best.score is not None
    with pytest.raises(ConfigError, match="no candidate with a finite score"):
        run(Proxy(rounds=1), lambda candidates: [math.inf] * len(candidates)).best  # noqa: B018


def test_directions_of_widths_lead_back_to_them() -> None:
    widths = {BLOCKS[0]: 16, BLOCKS[2]: 40}
    assert directions_of(widths, COST.units) == pytest.approx({BLOCKS[0]: 1.0, BLOCKS[1]: 0.0, BLOCKS[2]: 0.5, BLOCKS[3]: 0.0})
    assert set(directions_of({}, COST.units).values()) == {0.0}
