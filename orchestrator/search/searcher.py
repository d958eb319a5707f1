"""The search as Ray Tune sees it: proposals from the log, a trial's score long after its training, decisions on early stopping.

A trial's score comes from its EMA sweep, after its training has ended and the next trial has begun.  In the reproducible order
trial n is proposed from the results of the trials below n - concurrent_trials, all of them and no others, however fast
the sweeps were.  In the asynchronous order it is proposed from what is known at that moment, and the log says what that was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from ray.tune.search import Searcher

from orchestrator.records.folders import SweepRecord, TrialRecord
from orchestrator.search import history as events
from orchestrator.search.chain import chain_begun, next_of_chain
from orchestrator.search.early_stopping import Report, rule_for
from orchestrator.search.history import History, Learnt
from orchestrator.search.looks import looked_at, planned_so_far
from orchestrator.search.next_trial import decide, may_be_stopped
from orchestrator.search.optuna_study import OptunaView
from orchestrator.search.search_log import SearchLog
from orchestrator.search.verdicts import COMPLETE, Verdict, Verdicts
from search_spaces.space import choose
from search_spaces.study import Study
from trainables.errors import ConfigError, UserError
from trainables.stages.composition import total_images

_MOST_IMPOSSIBLE = 200  # proposals in a row
Curve = Sequence[tuple[int, float]]  # (images, intermediate score)


class Course(Protocol):
    """What a search needs of the run that it belongs to."""

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        """Let sweeps come in, and say whether the condition on the verdicts holds; block while nothing trains."""

    def budget_spent(self) -> bool:
        """Whether no further trial may begin."""

    def began(self, number: int, images: int) -> None:
        """A trial of so many images has been proposed."""

    def infeasible(self, number: int, values: Mapping[str, Any], reason: str) -> None:
        """A trial's values make no recipe; it is over, and counts for nothing."""

    def ended(self, number: int, lost: bool) -> None:
        """A trial's training is over."""


class StudySearch(Searcher):
    """Ray Tune's searcher over the log of a study."""

    def __init__(self, study: Study, log: SearchLog, verdicts: Mapping[int, Verdict], curves: Mapping[int, Curve], course: Course) -> None:
        """`verdicts` fills up as sweeps end; `curves` are the intermediate scores of trials that are trained, swept or not."""
        super().__init__()
        self._study, self._log, self._verdicts, self._course = study, log, verdicts, course
        self._view, self._interim = OptunaView(study), f"interim_{study.metric}"
        self.trouble: Exception | None = None
        self._numbers: dict[str, int] = {}  # by Tune's name of a trial
        self._heard: dict[int, Verdict] = {}  # verdicts that need not be looked at again
        self._rule = rule_for(study, end_of(study))
        for report in log.history.reports.values():
            if may_be_stopped(log.history, report.trial):
                self._rule.stops(report)
        for number, curve in sorted(curves.items()):  # a kill may have come between a trial's last score and its entry in the log
            for images, score in curve:
                self.report(number, images, score)
        self._unfinished = [n for n in log.history.numbers if n not in verdicts and n not in curves]

    @property
    def _history(self) -> History:
        return self._log.history

    def suggest(self, trial_id: str) -> Any:
        """The next trial's number and values; None while an earlier result is missing; FINISHED at the end."""
        for _ in range(_MOST_IMPOSSIBLE):
            number = self._next()
            if not isinstance(number, int):
                return number
            values = self._history.values_of(number)
            try:
                recipe = self._study.recipe(values)
            except ConfigError as error:
                if number not in self._history.impossible:
                    self._log.add(events.impossible(number))
                self._course.infeasible(number, values, str(error))
                continue
            self._numbers[trial_id] = number
            self._course.began(number, total_images(recipe))
            return {"number": number, "values": values, "decided": self._history.decided.get(number, 0)}
        raise UserError(
            f"{_MOST_IMPOSSIBLE} proposals in a row were impossible combinations of values; snrlab plan says how many there are and why"
        )

    def report(self, number: int, images: int, score: float) -> bool:
        """Whether a trial stops at this intermediate score; a decision that was taken once stays."""
        if (number, images) not in self._history.stops:
            report = Report(number, images, score)
            self._log.add(events.reported(report, may_be_stopped(self._history, number) and self._rule.stops(report)))
        return self._history.stops[number, images]

    def report_result(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """`report` of a result as Tune hands it over; False for one without a score."""
        if self._interim not in result:
            return False
        with self._trouble_kept():
            return self.report(self._numbers[trial_id], int(result["images"]), float(result[self._interim]))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Training has ended, or its process is lost; the sampler hears of the trial when its sweep is in (see `tell_all`)."""
        if result and not error:
            self.report_result(trial_id, result)
        with self._trouble_kept():
            self._course.ended(self._numbers[trial_id], lost=error)

    @contextmanager
    def _trouble_kept(self) -> Iterator[None]:
        """Tune makes a text of what is raised while it handles a result; `trouble` is the error itself."""
        try:
            yield
        except Exception as error:
            self.trouble = error
            raise

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the state of the search is its log. (Tune wants a file, and would pickle.)"""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def tell_all(self) -> None:
        """Tell the sampler every verdict that it has not heard yet."""
        self._tell_below(math.inf)

    @property
    def done(self) -> bool:
        """Whether every trial that is wanted has been begun and trained."""
        return self._searched and not self._unfinished and chain_begun(self._study, self._history)

    @property
    def _searched(self) -> bool:
        """Whether every trial of the search itself has begun."""
        return self._enough and not self._view.seeds.unfinished(self._history, self._verdicts)

    @property
    def _enough(self) -> bool:
        """Whether no new proposal is wanted."""
        proposed = planned_so_far(self._history)
        possible = proposed - len(self._history.impossible_proposals)
        return possible >= self._study.possible_proposals or proposed >= self._study.most_proposals

    def _next(self) -> int | str | None:
        """A trial that has not been run, or a new one."""
        if self._unfinished:
            return self._unfinished.pop(0)
        if self.done or self._course.budget_spent():
            return str(Searcher.FINISHED)
        number = len(self._history.numbers)
        if self._searched:
            return self._of_chain(number)
        for end in self._ends(number):
            if not self._course.wait_for(lambda end=end: self._results_are_in(end)):  # type: ignore[misc]
                return None
            self._tell_below(end)
            if self._begin(number):
                return number
        if self._study.asynchronous:
            self._course.wait_for(lambda: self._begin_with_all(number))
        if number in self._history.trials:
            return number
        return self._of_chain(number) if self._searched else None

    def _of_chain(self, number: int) -> int | str | None:
        """The next trial of the chain; a stage is laid out when all results of the search are in."""
        if not self._course.wait_for(lambda: self._results_are_in(len(self._history.trials))):
            return None
        self._tell_below(math.inf)
        for event in next_of_chain(self._view, number, self._history):
            self._log.add(event)
        return number if number in self._history.staged else str(Searcher.FINISHED)

    def _begin(self, number: int) -> bool:
        """Write into the log what the next trial is, if there is one by what is known."""
        for event in decide(self._view, number, self._history, self._enough):
            self._log.add(event)
        return number in self._history.trials

    def _begin_with_all(self, number: int) -> bool:
        """Whether the next trial is known from every result that is in, or there is none."""
        self._tell_below(math.inf)
        return self._begin(number) or self._searched

    def _ends(self, number: int) -> Iterable[float]:
        """First trials whose results are not waited for, one after the other until the next trial is known."""
        first = self._told_below(number)
        if self._study.design:
            return self._looks(first)
        return [first] if math.isinf(first) or not self._view.seeds.several else [*range(int(first), number), number]

    def _looks(self, first: float) -> Iterator[float]:
        """Of a design: a look needs all results before it, and what is spared may lead to the next look."""
        before = -1
        while (end := looked_at(self._study, self._history)) > before:
            yield first if end == 0 else end if math.isinf(first) else max(end, first)
            before = end

    def _told_below(self, number: int) -> float:
        """The first trial whose result a proposal does not use, whatever has come in."""
        return math.inf if self._study.asynchronous else number - self._study.compute.concurrent_trials

    def _results_are_in(self, end: float) -> bool:
        """Whether every trial below `end` has its verdict; where the order is asynchronous, whatever is there will do."""
        return math.isinf(end) or all(number in self._verdicts for number in self._history.numbers if number < end)

    def _tell_below(self, end: float) -> None:
        for number, verdict in sorted(self._verdicts.items()):
            if number < end and self._heard.get(number) is not verdict:
                self._heard[number] = verdict
                if self._history.verdicts.get(number) != verdict:
                    self._log.add(events.told(number, verdict))


def end_of(study: Study) -> Callable[[int], float]:
    """The first trial that another is not compared with in early stopping.

    In the reproducible order these are the trials that are certain to have been trained, whatever came first.
    """
    if study.asynchronous:
        return lambda trial: math.inf
    at_once = study.compute.concurrent_trials
    return lambda trial: trial if at_once == 1 else trial - at_once


def learnt_from(study: Study, earlier: Study, ended: Iterable[tuple[TrialRecord, SweepRecord | None]]) -> list[Learnt]:
    """Completed trials of an earlier study that lie in this one's space, with this one's objectives and constraints.

    ConfigError where the two optimise different things.
    """
    if earlier.objectives != study.objectives:
        raise ConfigError(
            f"search.warm_start: study {earlier.name} optimises {', '.join(o.metric for o in earlier.objectives)}, "
            f"and this one {', '.join(o.metric for o in study.objectives)}: its results mean something else here"
        )
    found, judged = [], Verdicts(study)
    for record, sweep in ended:
        verdict, values = judged.verdict(record, sweep), _within(study, record.values)
        if verdict.state == COMPLETE and verdict.values and values is not None:
            found.append(Learnt(earlier.name, values, verdict.values, verdict.excess))
    return found


def _within(study: Study, values: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values that this study searches; None where one is missing or outside its range."""
    try:
        chosen = choose(study.space, values.__getitem__)
    except KeyError:
        return None
    return chosen if all(study.space[path].contains(value) for path, value in chosen.items()) else None
