"""The search: Optuna proposes, through Ray Tune's OptunaSearch, and is told each trial's best score over its EMA lengths.

A trial's score comes from its sweep, after its training has ended and the next trial has begun.  So that a search can be
repeated exactly, trial n is proposed from the results of the trials up to n - 1 - concurrent_trials, all of them and
no others, however fast the sweeps were; and its random numbers are a function of (seed, n).
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from orchestrator.search.samplers import CONSTRAINTS, grid_size, sampler_for
from orchestrator.search.storage import SearchState
from orchestrator.search.verdicts import COMPLETE, FAILED, STOPPED, Verdict
from search_spaces import space as spaces
from search_spaces.study import Study
from trainables.errors import ConfigError

_EARLIER = "snrlab:earlier-trials"  # how many of the storage's trials come from earlier studies


class Course(Protocol):
    """What a search needs of the run that it belongs to."""

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        """Let sweeps come in, and say whether the condition on the verdicts holds; block while nothing trains."""

    def budget_spent(self) -> bool:
        """Whether no further trial may begin."""

    def began(self, number: int) -> None:
        """A trial has been proposed."""

    def reported(self, result: dict[str, Any]) -> None:
        """Tune has had a result."""

    def ended(self, number: int, lost: bool) -> None:
        """A trial's training is over."""

    def look_around(self) -> None:
        """Nothing in particular has happened; raise what is to end the search."""


class StudySearch(OptunaSearch):
    """Tune's OptunaSearch with late results, resumable trials and random numbers by trial."""

    def __init__(self, study: Study, state: SearchState, verdicts: Mapping[int, Verdict], trained: Set[int], course: Course,
                 known_trials: Sequence[FrozenTrial] = ()) -> None:
        """`verdicts` fills up as sweeps end; `trained` trials only lack their sweep.

        `known_trials` of earlier studies are what the sampler learns from (see `learnt_from`).
        """
        self._definition, self._verdicts, self._course = study, verdicts, course
        self._interim = f"interim_{study.metric}"
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # grouped TPE, in use for years
        super().__init__(
            space=lambda trial: spaces.suggest(study.space, trial), metric=[o.metric for o in study.objectives],
            mode=["min" if o.direction == "minimise" else "max" for o in study.objectives], storage=state.storage,
            study_name=state.name, sampler=sampler_for(study, 0),
        )
        self._optuna: optuna.Study = self._ot_study  # type: ignore[assignment]
        if not self._optuna.get_trials(deepcopy=False):
            self._optuna.add_trials(known_trials)
            self._optuna.set_user_attr(_EARLIER, len(known_trials))
            for point in study.search.points:
                self._optuna.enqueue_trial(dict(point))
        self._earlier = int(self._optuna.user_attrs.get(_EARLIER, 0))
        known = [t for t in self._optuna.get_trials(deepcopy=False)[self._earlier :] if t.state != TrialState.WAITING]
        self._asked = len(known)
        self._by_number: dict[int, optuna.Trial] = {}
        self._numbers: dict[str, int] = {}  # by Tune's name of a trial
        for trial in known:
            if not trial.state.is_finished():
                self._by_number[trial.number - self._earlier] = optuna.trial.Trial(self._optuna, trial._trial_id)
        self._unfinished = [n for n in self._by_number if n not in verdicts and n not in trained]
        self._wanted = min(study.search.trials, grid_size(study) or study.search.trials)

    def suggest(self, trial_id: str) -> Any:
        """The next trial's number and values; None while an earlier result is missing; FINISHED at the end."""
        if not self._unfinished and (self._asked >= self._wanted or self._course.budget_spent()):
            return Searcher.FINISHED
        if self._unfinished:
            number = self._unfinished.pop(0)
        else:
            number = self._asked
            end = number - self._definition.compute.concurrent_trials
            if not self._course.wait_for(lambda: self._results_are_in(end)):
                return None
            self._tell_below(end)
            self._optuna.sampler = sampler_for(self._definition, number)
            self._by_number[number] = self._optuna.ask()
            self._asked += 1
        trial = self._by_number[number]
        self._ot_trials[trial_id] = trial
        values = spaces.suggest(self._definition.space, trial)
        self._numbers[trial_id] = number
        self._course.began(number)
        return {"number": number, "values": values}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if self._interim in result and len(self._definition.objectives) == 1:  # Optuna keeps no curves for several
            self._ot_trials[trial_id].report(result[self._interim], int(result["images"]))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Training has ended, or its process is lost; Optuna hears of the trial when its sweep is in (see `tell_all`)."""
        self._course.ended(self._numbers[trial_id], lost=error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the state of the search is in Optuna's storage. (Tune wants a file, and would pickle.)"""
        Path(checkpoint_path).touch()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def tell_all(self) -> None:
        """Give Optuna every verdict that it has not heard yet (at the end of a run)."""
        self._tell_below(self._asked)

    def _results_are_in(self, end: int) -> bool:
        """Whether every trial below `end` has its verdict."""
        return all(number in self._verdicts for number in self._by_number if number < end)

    def _tell_below(self, end: int) -> None:
        for number in sorted(n for n in self._by_number if n < end and n in self._verdicts):
            verdict, trial = self._verdicts[number], self._by_number.pop(number)
            state, values = verdict.state, verdict.values
            if state == STOPPED and len(self._definition.objectives) > 1:
                state = FAILED  # Optuna has no pruned trials of several objectives
            if verdict.excess:
                trial.set_user_attr(CONSTRAINTS, list(verdict.excess))
            self._optuna.tell(trial, list(values) if values and state == COMPLETE else None, state=state, skip_if_finished=True)


def learnt_from(study: Study, earlier: Study, state: SearchState) -> list[FrozenTrial]:
    """Completed trials of an earlier study that lie in this one's space; ConfigError where the two optimise different things."""
    if earlier.objectives != study.objectives:
        raise ConfigError(
            f"search.warm_start: study {earlier.name} optimises {', '.join(o.metric for o in earlier.objectives)}, "
            f"and this one {', '.join(o.metric for o in study.objectives)}: its results mean something else here"
        )
    found = []
    for trial in state.load().get_trials(deepcopy=False, states=(COMPLETE,)):
        fixed = optuna.trial.FixedTrial(trial.params)
        with warnings.catch_warnings(action="ignore"), contextlib.suppress(ValueError):  # a trial outside this space is left out
            spaces.suggest(study.space, fixed)
            found.append(optuna.trial.create_trial(
                params=fixed.params, distributions=fixed.distributions, values=trial.values, user_attrs={"snrlab:from": earlier.name}
            ))
    return found
