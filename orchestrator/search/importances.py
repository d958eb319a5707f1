"""How much each searched parameter mattered, and how sure that is."""

from __future__ import annotations

import warnings
from collections.abc import Container

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from orchestrator.search.history import History
from orchestrator.search.optuna_study import OptunaView
from search_spaces.study import Study

FEWEST = 20  # completed proposals; below, shares are mostly noise
_DRAWS = 100  # of the bootstrap

Importance = tuple[float, float, float]  # share, and its 95 % interval


def importances(study: Study, history: History) -> dict[str, Importance]:
    """How much each searched parameter mattered for being among the best trials (PED-ANOVA, Watanabe et al. 2023), in shares of 1.

    The best are the top tenth, or five trials where those are fewer.  Conditional parameters count within their condition.
    Intervals are those of a percentile bootstrap over completed trials.  Trials beyond a constraint are left out, as they are from the
    ranking.  Empty where fewer than 20 completed trials are left, or nothing varies.  Seeds are no parameter: a proposal counts once.
    """
    view = OptunaView(study)
    complete = [t for t in view.trials(history) if t.state == TrialState.COMPLETE and all(over <= 0 for over in t.constraints.values())]
    found = _shares(view, complete) if len(complete) >= FEWEST else {}
    if not found:
        return {}
    draw = np.random.default_rng(study.search.seed)
    drawn = [_shares(view, [complete[i] for i in draw.integers(0, len(complete), len(complete))]) for _ in range(_DRAWS)]
    intervals = {path: np.percentile([shares.get(path, 0.0) for shares in drawn], [2.5, 97.5]) for path in found}
    return {path: (share, min(share, float(intervals[path][0])), max(share, float(intervals[path][1]))) for path, share in found.items()}


class _Drawn(optuna.storages.InMemoryStorage):
    """Of one study, whose trials are there already; adding them one by one would copy each."""

    def __init__(self, trials: list[FrozenTrial]) -> None:
        super().__init__()
        self._drawn = [
            FrozenTrial(
                number=number, trial_id=number, state=t.state, value=None, values=t.values, params=t.params,
                distributions=t.distributions, datetime_start=t.datetime_start, datetime_complete=t.datetime_complete,
                user_attrs={}, system_attrs={}, intermediate_values={},
            )
            for number, t in enumerate(trials)
        ]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return [trial for trial in self._drawn if states is None or trial.state in states]


def _shares(view: OptunaView, trials: list[FrozenTrial]) -> dict[str, float]:
    made = optuna.create_study(storage=_Drawn(trials), directions=view.directions)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=min(0.5, max(0.1, 5 / len(trials))))
    with warnings.catch_warnings(action="ignore"):
        try:
            return {path: float(share) for path, share in optuna.importance.get_param_importances(made, evaluator=evaluator).items()}
        except (ValueError, RuntimeError):  # nothing varies
            return {}
