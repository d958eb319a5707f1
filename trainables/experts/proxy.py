"""The proxy search: which block gives up how much, in rounds with a memory of earlier outcomes (Li et al. 2023, arXiv 2312.13307).

Optuna proposes one share per block; each proposal is scaled to the budget and scored by whoever calls, for example by the held-out loss
on the group's levels after a short recovery.  A round's proposals are a function of the rows of earlier rounds alone, so that a round
can be computed in parallel, and a search that was interrupted goes on as if it had not been.  No torch here.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from trainables.errors import ConfigError
from trainables.experts.allocation import greedy, to_budget
from trainables.experts.macs import MacsByWidth
from trainables.method import Settings
from trainables.randomness import key_of

Directions = Mapping[str, float]  # what each block gives up, relative to the others, in [0, 1]
Widths = Mapping[str, int]


class Proxy(Settings):
    """How long is searched; the first candidates are the uniform and the greedy allocation and what the memory has."""

    rounds: int = Field(4, ge=1, le=1000, description="rounds of candidates; a round's candidates are scored in parallel")
    per_round: int = Field(4, ge=1, le=1000, description="candidates per round")
    recovery_images: int = Field(2_048, ge=0, description="training images on the group's levels before a candidate is scored")
    seed: int = Field(0, ge=0, description="seed of the sampler")


@dataclass(frozen=True)
class Row:
    """A row of the memory: one candidate and how it did. Plain data, for files and for other searches with the same base."""

    round: int
    place: int  # within the round
    origin: str  # uniform, greedy, memory or sampler
    directions: Directions
    widths: Widths  # blocks that keep fewer than all; empty where the budget could not be met
    score: float | None  # lower is better; None where there is no finite one
    evaluated: bool  # whether it was scored for this row, and not taken from an equal candidate


@dataclass(frozen=True)
class Found:
    """What a search has found, and what it cost."""

    rows: tuple[Row, ...]

    @property
    def best(self) -> Row:
        """The row with the lowest score, the first of equals; ConfigError where no candidate has one."""
        finite = [row for row in self.rows if row.score is not None]
        if not finite:
            raise ConfigError("the proxy search has no candidate with a finite score: use another budget or a smaller multiple")
        return min(finite, key=lambda row: _number(row.score))

    def gain_over(self, origin: str) -> float | None:
        """How much lower the best score is than that of the baseline `uniform` or `greedy`; None where that has none."""
        scores = [row.score for row in self.rows if row.origin == origin and row.score is not None]
        return scores[0] - _number(self.best.score) if scores else None

    @property
    def evaluations(self) -> int:
        """Candidates that were scored."""
        return sum(row.evaluated for row in self.rows)


def search(
    proxy: Proxy,
    cost: MacsByWidth,
    budget: float,
    scores: Mapping[str, Sequence[float]],
    score_round: Callable[[Sequence[Widths]], Sequence[float]],
    multiple: int = 8,
    history: Sequence[Row] = (),
    memory: Sequence[Row] = (),
    keep: Callable[[Sequence[Row]], None] = lambda rows: None,
) -> Found:
    """The best widths within a budget [MACs].

    `scores` [units] are a criterion's, for the greedy baseline.  `score_round` takes the widths of several different candidates, and
    may score them at once; a number that is not finite stands for a failure.  `history` are rows of this very search, which go on.
    `memory` are rows of others, best first: of neighbouring groups, or of other trials with the same base.  `keep` is handed all rows
    after each round.
    """
    by_score = _greedy(scores, budget, cost, multiple)
    starts = _starts(cost, by_score, memory)
    rows = [row for row in history if row.round < proxy.rounds]
    for number in range(proxy.rounds):
        if sum(row.round == number for row in rows) == proxy.per_round:
            continue
        earlier = [row for row in rows if row.round < number]
        candidates = [
            (origin, directions, by_score if origin == "greedy" else _widths(directions, budget, cost, multiple))
            for origin, directions in propose(proxy, list(cost.units), earlier, number, starts)
        ]
        known = {_key(row.widths): row.score for row in earlier if row.widths}
        new = {_key(w): w for _, _, w in candidates if w is not None and _key(w) not in known}
        found = score_round(list(new.values())) if new else []
        known |= {key: _finite(score) for key, score in zip(new, found, strict=True)}
        rows = earlier
        for place, (origin, directions, widths) in enumerate(candidates):
            evaluated = widths is not None and new.pop(_key(widths), None) is not None
            score = None if widths is None else known[_key(widths)]
            rows.append(Row(number, place, origin, directions, widths or {}, score, evaluated))
        keep(rows)
    return Found(tuple(rows))


def propose(
    proxy: Proxy, blocks: Sequence[str], history: Sequence[Row], number: int, starts: Sequence[tuple[str, Directions]] = ()
) -> list[tuple[str, Directions]]:
    """(origin, directions) of the candidates of a round, as a function of the rows of the rounds before it.

    The candidates of the whole search begin with `starts`; Optuna's TPE gives the others.
    """
    first = number * proxy.per_round
    given = list(starts[first : first + proxy.per_round])
    return given + _asked(proxy, blocks, [row for row in history if row.round < number], number, given)


def directions_of(widths: Widths, units: Mapping[str, int]) -> Directions:
    """The shares that blocks give up at these widths, the largest one as 1."""
    shares = {name: 1.0 - widths.get(name, count) / count for name, count in units.items()}
    largest = max(shares.values(), default=0.0)
    return {name: share / largest for name, share in shares.items()} if largest else shares


def _starts(cost: MacsByWidth, by_score: Widths | None, memory: Sequence[Row]) -> list[tuple[str, Directions]]:
    """Baselines and remembered allocations, each once; those that differ in the blocks are of another network."""
    found: list[tuple[str, Directions]] = [("uniform", dict.fromkeys(cost.units, 1.0))]
    if by_score is not None:
        found.append(("greedy", directions_of(by_score, cost.units)))
    for row in memory:
        fits = row.score is not None and row.directions.keys() == cost.units.keys()
        if fits and all(row.directions != directions for _, directions in found):
            found.append(("memory", dict(row.directions)))
    return found


def _asked(
    proxy: Proxy, blocks: Sequence[str], history: Sequence[Row], number: int, given: Sequence[tuple[str, Directions]]
) -> list[tuple[str, Directions]]:
    import optuna
    from optuna.distributions import FloatDistribution
    from optuna.trial import TrialState, create_trial

    wanted = proxy.per_round - len(given)
    if not wanted:
        return []
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    axes = {block: FloatDistribution(0.0, 1.0) for block in blocks}

    def trial(directions: Directions, state: TrialState, score: float | None = None) -> Any:
        return create_trial(state=state, value=score, params=dict(directions), distributions=dict(axes))

    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):  # of several axes at once
        sampler = optuna.samplers.TPESampler(
            seed=key_of(proxy.seed, f"proxy round {number}") % 2**32, n_startup_trials=proxy.per_round, multivariate=True,
            constant_liar=True,
        )
        study = optuna.create_study(sampler=sampler)
        for row in history:
            study.add_trial(trial(row.directions, TrialState.FAIL if row.score is None else TrialState.COMPLETE, row.score))
        for _, directions in given:
            study.add_trial(trial(directions, TrialState.RUNNING))
        return [("sampler", dict(study.ask(dict(axes)).params)) for _ in range(wanted)]


def _greedy(scores: Mapping[str, Sequence[float]], budget: float, cost: MacsByWidth, multiple: int) -> Widths | None:
    """None where steps of this multiple do not lead to the budget."""
    try:
        return greedy(scores, budget, cost, multiple)
    except ConfigError:
        return None


def _widths(directions: Directions, budget: float, cost: MacsByWidth, multiple: int) -> Widths | None:
    """None where these directions do not lead to the budget."""
    try:
        return to_budget(directions, budget, cost, multiple)
    except ConfigError:
        return None


def _key(widths: Widths) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(widths.items()))


def _finite(score: float) -> float | None:
    return float(score) if math.isfinite(score) else None


def _number(score: float | None) -> float:
    assert score is not None  # rows without a score have been left out
    return score
