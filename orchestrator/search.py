"""The search: Optuna proposes, through Ray Tune's OptunaSearch, and is told each trial's best score over its EMA lengths.

A trial's score comes from its sweep, after its training has ended and the next trial has begun.  So that a search can be
repeated exactly, trial n is proposed from the results of the trials up to n - 1 - concurrent_trials, all of them and
no others, however fast the sweeps were; and its random numbers are a function of (seed, n).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from search_spaces import space as spaces
from search_spaces.study import Random, Search, Study, Tpe
from trainables.randomness import key_of

COMPLETE, STOPPED, FAILED = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL


@dataclass(frozen=True)
class Verdict:
    """What Optuna is told of a trial: complete with a value, pruned (stopped early), or failed."""

    state: TrialState
    value: float | None = None


def open_storage(journal: Path) -> JournalStorage:
    """Optuna's state in one append-only file of JSON lines."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(journal)))


class StudySearch(OptunaSearch):
    """Tune's OptunaSearch with late results, resumable trials and random numbers by trial."""

    def __init__(self, study: Study, storage: JournalStorage, interim_metric: str, verdicts: Mapping[int, Verdict],
                 trained: Set[int], wait_for: Callable[[Callable[[], bool]], bool]) -> None:
        """`verdicts` fills up as sweeps end; `trained` trials only lack their sweep.

        `wait_for(condition)` lets sweeps come in and says whether the condition holds; it blocks while nothing trains.
        """
        self._definition, self._verdicts, self._wait_for = study, verdicts, wait_for
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # grouped TPE, in use for years
        super().__init__(
            space=lambda trial: spaces.suggest(study.space, trial), metric=interim_metric, mode="min", storage=storage,
            study_name=study.name, sampler=_sampler(study.search, 0),
        )
        self._optuna: optuna.Study = self._ot_study  # type: ignore[assignment]
        known = self._optuna.get_trials(deepcopy=False)
        self._unfinished = [t.number for t in known if not t.state.is_finished() and t.number not in verdicts and t.number not in trained]
        self._asked = len(known)
        self._by_number: dict[int, optuna.Trial] = {}
        for trial in known:
            if not trial.state.is_finished():
                self._by_number[trial.number] = optuna.trial.Trial(self._optuna, trial._trial_id)

    def suggest(self, trial_id: str) -> Any:
        """The next trial's number and values; None while an earlier result is missing; FINISHED at the end."""
        if not self._unfinished and self._asked >= self._definition.search.trials:
            return Searcher.FINISHED
        if self._unfinished:
            number = self._unfinished.pop(0)
        else:
            number = self._asked
            end = number - self._definition.compute.concurrent_trials
            if not self._wait_for(lambda: self._results_are_in(end)):
                return None
            self._tell_below(end)
            self._optuna.sampler = _sampler(self._definition.search, number)
            self._by_number[number] = self._optuna.ask()
            self._asked += 1
        trial = self._by_number[number]
        self._ot_trials[trial_id] = trial
        values = spaces.suggest(self._definition.space, trial)
        return {"number": number, "values": values}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if self.metric in result:
            self._ot_trials[trial_id].report(result[self.metric], int(result["images"]))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Training has ended; Optuna hears of the trial when its sweep is in (see `tell_all`)."""

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
            verdict = self._verdicts[number]
            self._optuna.tell(self._by_number.pop(number), verdict.value, state=verdict.state, skip_if_finished=True)


def importances(storage: JournalStorage, study: Study) -> dict[str, float]:
    """Share of the objective's variance that each searched parameter explains (fANOVA, Hutter et al. 2014).

    Empty where there are fewer than three completed trials, or nothing varies.
    """
    loaded = optuna.load_study(study_name=study.name, storage=storage)
    if len(loaded.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < 3:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=study.search.seed)
    try:
        return dict(optuna.importance.get_param_importances(loaded, evaluator=evaluator))
    except (ValueError, RuntimeError):
        return {}


def _sampler(search: Search, number: int) -> optuna.samplers.BaseSampler:
    """A sampler whose random numbers belong to trial `number` alone, so that a resumed search goes on as it would have."""
    seed = key_of(search.seed, f"sampler/{number}") % 2**32
    match search.sampler:
        case Tpe(startup_trials=startup):
            return optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=startup, multivariate=True, group=True, constant_liar=True
            )
        case Random():
            return optuna.samplers.RandomSampler(seed=seed)
    raise AssertionError(f"no sampler for {search.sampler}")
