"""A search as Optuna knows it, computed from the history: an in-memory study with all its trials."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from orchestrator.search.history import History, Proposal
from orchestrator.search.verdicts import Verdict
from search_spaces import space as spaces
from search_spaces.study import Study


def optuna_study(study: Study, history: History, sampler: optuna.samplers.BaseSampler | None = None) -> optuna.Study:
    """All trials so far, first those of earlier studies; trials without a verdict are running."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    made = optuna.create_study(directions=directions(study), sampler=sampler or optuna.samplers.RandomSampler(seed=0))
    made.add_trials(frozen_trials(study, history))
    return made


def directions(study: Study) -> list[StudyDirection]:
    return [StudyDirection.MINIMIZE if o.direction == "minimise" else StudyDirection.MAXIMIZE for o in study.objectives]


def frozen_trials(study: Study, history: History) -> list[FrozenTrial]:
    """Trials of earlier studies, then the study's own in the order of their numbers."""
    earlier = [
        optuna.trial.create_trial(values=list(t.objectives), user_attrs={"snrlab:from": t.study}, **_parameters(study, t.values))
        for t in history.learnt
    ]
    return earlier + [frozen_trial(study, proposal, history.verdicts.get(number)) for number, proposal in sorted(history.proposals.items())]


def frozen_trial(study: Study, proposal: Proposal, verdict: Verdict | None) -> FrozenTrial:
    """One trial: running, complete with its values, pruned with its curve, or failed."""
    known: dict[str, Any] = {**_parameters(study, proposal.values), "system_attrs": dict(proposal.attributes)}
    if verdict is None:
        return optuna.trial.create_trial(state=TrialState.RUNNING, **known)
    state = verdict.state
    if state == TrialState.PRUNED and len(study.objectives) > 1:
        state = TrialState.FAIL  # Optuna has no pruned trials of several objectives
    if len(study.objectives) == 1:  # Optuna keeps no curves for several
        known["intermediate_values"] = dict(verdict.curve)
    bounds = {f"{c.metric} {i}": excess for i, (c, excess) in enumerate(zip(study.search.constraints, verdict.excess, strict=False))}
    return optuna.trial.create_trial(
        state=state, values=list(verdict.values or ()) if state == TrialState.COMPLETE else None, constraints=bounds, **known
    )


def _parameters(study: Study, values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters and distributions as Optuna wants them."""
    fixed = optuna.trial.FixedTrial(dict(values))
    spaces.suggest(study.space, fixed)
    return {"params": fixed.params, "distributions": fixed.distributions}


def importances(study: Study, history: History) -> dict[str, float]:
    """How much each searched parameter mattered for being among the best trials (PED-ANOVA, Watanabe et al. 2023), in shares of 1.

    The best are the top tenth, or five trials where those are fewer.  Conditional parameters count within their condition.
    Empty where there are fewer than three completed trials, or nothing varies.
    """
    complete = sum(verdict.state == TrialState.COMPLETE for verdict in history.verdicts.values())
    if complete < 3:
        return {}
    with warnings.catch_warnings(action="ignore"):
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=min(0.5, max(0.1, 5 / complete)))
        try:
            found = optuna.importance.get_param_importances(optuna_study(study, history), evaluator=evaluator)
        except (ValueError, RuntimeError):
            return {}
    return {path: float(share) for path, share in found.items()}
