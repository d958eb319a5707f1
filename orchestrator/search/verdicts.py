"""What a finished trial counts for in the search: its objectives' values, and how far it exceeds bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from optuna.trial import TrialState

from orchestrator.records.folders import SweepRecord, TrialRecord
from search_spaces.search import Constraint
from search_spaces.study import Study

COMPLETE, STOPPED, FAILED = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL


@dataclass(frozen=True)
class Verdict:
    """What Optuna is told of a trial: complete with a value, pruned (stopped early), or failed."""

    state: TrialState
    values: tuple[float, ...] | None = None  # of the study's objectives
    excess: tuple[float, ...] = ()  # how far each constraint is exceeded; at most 0 is feasible
    curve: tuple[tuple[int, float], ...] = ()  # (images, intermediate score), finite scores alone
    infeasible: bool = field(default=False, compare=False)  # values that make no recipe: nothing was run

    @property
    def feasible(self) -> bool:
        return all(e <= 0 for e in self.excess)


class Verdicts:
    """Judges trials by their records alone, so that a resumed run comes to the same verdicts."""

    def __init__(self, study: Study) -> None:
        self._study = study

    def verdict(self, record: TrialRecord, sweep: SweepRecord | None, curve: Sequence[tuple[int, float]] = ()) -> Verdict:
        """Failed, stopped early, or complete with a finite value for each objective."""
        if record.training == "infeasible":
            return Verdict(FAILED, infeasible=True)
        numbers = sweep.numbers if sweep else {}
        values = tuple(numbers.get(o.metric, math.nan) for o in self._study.objectives)
        finite = tuple((images, score) for images, score in curve if math.isfinite(score))
        if record.training == "failed" or not all(math.isfinite(v) for v in values):
            return Verdict(FAILED, curve=finite)
        over = (numbers.get(c.metric, math.inf) - self._bound(c) for c in self._study.search.constraints)
        excess = tuple(math.inf if math.isnan(e) else e for e in over)
        return Verdict(STOPPED, None, excess, finite) if record.training == "stopped" else Verdict(COMPLETE, values, excess, finite)

    @cached_property
    def bounds(self) -> dict[str, float]:
        """The most that a feasible trial may have of each constrained number."""
        tightest: dict[str, float] = {}
        for constraint in self._study.search.constraints:
            tightest[constraint.metric] = min(self._bound(constraint), tightest.get(constraint.metric, math.inf))
        return tightest

    def _bound(self, constraint: Constraint) -> float:
        return constraint.at_most * (self._base_cost[constraint.metric] if constraint.relative else 1.0)

    @cached_property
    def _base_cost(self) -> dict[str, float]:
        from trainables.evaluation.cost import network_cost

        return network_cost(self._study.base_recipe)
