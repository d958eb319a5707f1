"""A search as Optuna knows it, computed from the history: an in-memory study in which each proposal is a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from orchestrator.search.history import History, Proposal
from orchestrator.search.seeds import Seeds
from orchestrator.search.verdicts import Verdict
from search_spaces import space as spaces
from search_spaces.study import Study


class OptunaView:
    """A study's proposals in Optuna's terms; each is made once for each verdict."""

    def __init__(self, study: Study) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.study, self.seeds = study, Seeds(study)
        self._made: dict[int, tuple[Verdict, FrozenTrial]] = {}
        self._distributions: dict[tuple[str, ...], dict[str, BaseDistribution]] = {}  # by the paths that are searched together

    @property
    def directions(self) -> list[StudyDirection]:
        return [StudyDirection.MINIMIZE if o.direction == "minimise" else StudyDirection.MAXIMIZE for o in self.study.objectives]

    def in_memory(self, history: History, sampler: optuna.samplers.BaseSampler | None = None) -> optuna.Study:
        """A study with all trials so far."""
        made = optuna.create_study(directions=self.directions, sampler=sampler or optuna.samplers.RandomSampler(seed=0))
        made.add_trials(self.trials(history))
        return made

    def trials(self, history: History) -> list[FrozenTrial]:
        """Trials of earlier studies, then the study's proposals in the order of their numbers; those without a verdict are running."""
        earlier = [
            create_trial(
                values=list(t.objectives), user_attrs={"snrlab:from": t.study}, constraints=self._constraints(t.excess),
                **self._parameters(t.values),
            )
            for t in history.learnt
        ]
        verdicts = self.seeds.verdicts(history)
        return earlier + [self._trial(proposal, verdicts.get(number)) for number, proposal in sorted(history.proposals.items())]

    def _trial(self, proposal: Proposal, verdict: Verdict | None) -> FrozenTrial:
        if verdict is None:
            return create_trial(state=TrialState.RUNNING, system_attrs=dict(proposal.attributes), **self._parameters(proposal.values))
        known = self._made.get(proposal.number)
        if known is None or known[0] != verdict:
            known = self._made[proposal.number] = (verdict, self._finished(proposal, verdict))
        return known[1]

    def _finished(self, proposal: Proposal, verdict: Verdict) -> FrozenTrial:
        """Complete with its values, pruned with its curve, or failed."""
        state = verdict.state
        if state == TrialState.PRUNED and len(self.study.objectives) > 1:
            state = TrialState.FAIL  # Optuna has no pruned trials of several objectives
        return create_trial(
            state=state, values=list(verdict.values or ()) if state == TrialState.COMPLETE else None,
            intermediate_values=dict(verdict.curve) if state == TrialState.PRUNED else None,  # no sampler looks at those of the others
            constraints=self._constraints(verdict.excess),
            system_attrs=dict(proposal.attributes), **self._parameters(proposal.values),
        )

    def _constraints(self, excess: Sequence[float]) -> dict[str, float]:
        """How far each bound is exceeded; none for trials that have no numbers."""
        return {f"{c.metric} {i}": over for i, (c, over) in enumerate(zip(self.study.search.constraints, excess, strict=False))}

    def _parameters(self, values: Mapping[str, Any]) -> dict[str, Any]:
        paths = tuple(values)
        if paths not in self._distributions:
            fixed = optuna.trial.FixedTrial(dict(values))
            spaces.suggest(self.study.space, fixed)
            self._distributions[paths] = fixed.distributions
        searched = self._distributions[paths]  # nothing, of a design
        return {"params": {path: values[path] for path in searched}, "distributions": searched}
