"""What a finished trial counts for in the search: its objectives' values, how far it exceeds bounds, what is left of the budget."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cached_property

from optuna.trial import TrialState

from orchestrator.records.folders import StudyFolder, SweepRecord, TrialRecord
from search_spaces.search import Constraint
from search_spaces.study import Study

COMPLETE, STOPPED, FAILED = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL


@dataclass(frozen=True)
class Verdict:
    """What Optuna is told of a trial: complete with a value, pruned (stopped early), or failed."""

    state: TrialState
    values: tuple[float, ...] | None = None  # of the study's objectives
    excess: tuple[float, ...] = ()  # how far each constraint is exceeded; at most 0 is feasible

    @property
    def feasible(self) -> bool:
        return all(e <= 0 for e in self.excess)


class Verdicts:
    """Judges trials by their records alone, so that a resumed run comes to the same verdicts."""

    def __init__(self, study: Study) -> None:
        self._study = study

    def verdict(self, record: TrialRecord, sweep: SweepRecord | None) -> Verdict:
        """Failed, stopped early, or complete with a finite value for each objective."""
        numbers = sweep.numbers if sweep else {}
        values = tuple(numbers.get(o.metric, math.nan) for o in self._study.objectives)
        if record.training == "failed" or not all(math.isfinite(v) for v in values):
            return Verdict(FAILED)
        excess = tuple(numbers.get(c.metric, math.inf) - self._bound(c) for c in self._study.search.constraints)
        return Verdict(STOPPED, excess=excess) if record.training == "stopped" else Verdict(COMPLETE, values, excess)

    def budget_spent(self, folder: StudyFolder) -> bool:
        """Whether the study's hours or GPU-hours are used up by the trials so far."""
        search, compute = self._study.search, self._study.compute
        if not search.hours and not search.gpu_hours:
            return False
        busy = sum((r.ended or time.time()) - r.started for r in (trial.record for trial in folder.trials())) / 3600
        hours, gpu_hours = busy / compute.concurrent_trials, busy * max(compute.workers, 1) * compute.gpus_per_worker
        return bool((search.hours and hours >= search.hours) or (search.gpu_hours and gpu_hours >= search.gpu_hours))

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
