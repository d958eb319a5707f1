"""Runs a study from its file to its last recorded number; goes on where an earlier run of it ended."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.cluster.ray_cluster import prepare_environment, ray_cluster
from orchestrator.execution.checks import LEAST_AT_START, Checks, check_disk
from orchestrator.execution.tally import Display, Tally
from orchestrator.records import events
from orchestrator.records.definition import Definition, define, recall
from orchestrator.records.folders import StudyFolder, TrialRecord, WorkFolder
from orchestrator.records.stages import stages
from orchestrator.records.tracker import Tracker
from search_spaces.study import Study
from trainables.errors import UserError
from trainables.training.resume import cut_back

if TYPE_CHECKING:
    from orchestrator.search.history import Learnt

_COPIED_EVERY = 10.0  # seconds


@dataclass(frozen=True)
class Summary:
    """How a study ended."""

    tally: Tally
    already_done: bool = False

    @property
    def exit_code(self) -> int:
        return 3 if self.tally.failed else 0


def run_study(study: Study, work: WorkFolder, display: Display, address: str | None = None, tracking_uri: str | None = None,
              search_storage: str = "") -> Summary:
    """Run or go on with a study; UserError where it cannot be, KeyboardInterrupt after a clean stop."""
    folder = work.study(study.name)
    study.base_recipe.check_files()
    check_disk(work, LEAST_AT_START)
    with folder.held() as lock:
        folder.cancel_request.unlink(missing_ok=True)
        definition = define(study, folder)
        return _StudyRun(definition, work, folder, display, lock.generation, search_storage).go(address, tracking_uri or work.tracking_uri)


class _StudyRun:
    """One process's part of a study: what Tune reports is counted, shown, swept and tracked."""

    def __init__(self, definition: Definition, work: WorkFolder, folder: StudyFolder, display: Display, generation: int,
                 search_storage: str) -> None:
        prepare_environment()
        from orchestrator.execution.outcomes import Outcomes
        from orchestrator.search.history import begun
        from orchestrator.search.optuna_copy import OptunaCopy
        from orchestrator.search.search_log import SearchLog
        from orchestrator.search.searcher import StudySearch

        self.study, self.work, self.folder, self.display = definition.study, work, folder, display
        self.log = SearchLog(folder, generation)
        if not self.log.history.begun:
            self.log.add(begun(self._learnt()))
        self.outcomes = Outcomes(self.study, folder, self.log.history)
        self.copy, self._copy_again = OptunaCopy(folder, definition, search_storage), 0.0
        self._images: dict[int, int] = {}  # seen by each trial, as far as it has reported
        self.search = StudySearch(self.study, self.log, self.outcomes.verdicts, self.outcomes.curves, self)

    @property
    def tally(self) -> Tally:
        return self.outcomes.tally

    def go(self, address: str | None, tracking_uri: str) -> Summary:
        from orchestrator.search.importances import importances

        self.tracker = Tracker(self.folder, tracking_uri, self.work.artifacts, self.outcomes.judged.bounds)
        self.checks = Checks(self.study, self.work, self.folder, self.tracker, self.display.note)
        done = self.search.done and not self.outcomes.unswept
        self.tracker.start()
        try:
            if not done:
                self._train_and_sweep(address)
            self.search.tell_all()
            self.copy.update(self.log.history)
            self.tracker.close("FINISHED", importances(self.study, self.log.history))
        except BaseException as error:
            self.tracker.close("FAILED" if isinstance(error, Exception) else "KILLED")
            try:
                self.tracker.wait()
            except UserError as untracked:
                if str(untracked) != str(error):
                    self.display.note(str(untracked))
            raise
        self.tracker.wait()
        return Summary(self.tally, already_done=done)

    def _train_and_sweep(self, address: str | None) -> None:
        from orchestrator.cluster.metrics import StudyMetrics
        from orchestrator.execution.sweep_tasks import SweepTasks
        from orchestrator.execution.tuning import tune_study

        with ray_cluster(self.study.compute, address, self.display.note) as self.ray:
            self.display.note(f"Ray is up; starting {self.study.compute.workers or 'no'} training worker(s) (about 15 s)")
            self.metrics = StudyMetrics(self.study.name, self.study.metric)
            self.sweeps = SweepTasks(self.study, self.folder.root / "trials", self.work.cache)
            try:
                self.sweeps.warm_up()
                for trial in self.outcomes.unswept:
                    self.sweeps.submit(trial)
                tune_study(self.study, self.search, self, self.work, self.folder)
                while self.sweeps.waiting:
                    self.look_around(patience=1.0)
            finally:
                self.checks.clock.write()

    def began(self, number: int, images: int) -> None:
        """A trial of so many images has been proposed."""
        self.tally.running += 1
        self.tally.images_open += images - self.tally.images_per_trial
        self.display.note(f"trial {number}: training")
        self._show()

    def infeasible(self, number: int, values: Mapping[str, Any], reason: str) -> None:
        """A trial's values make no recipe; it is over, and counts for nothing."""
        trial, now = self.folder.trial(number), time.time()
        trial.write_record(TrialRecord(number, dict(values), "", "", "infeasible", reason, now, now))
        events.note(trial.root, "infeasible", message=reason)
        self.outcomes.conclude(trial, None)
        self.display.note(f"trial {number}: impossible: {reason.splitlines()[0]}")
        self.tracker.touch(number)

    def reported(self, result: dict[str, Any]) -> None:
        """Tune has had a result."""
        number = result.get("config", {}).get("number")
        if number is None or "images" not in result:
            return  # Tune's own message that a trial is done
        if reused := result.get("reused"):
            origin = f"study {reused['study']}, trial {reused['trial']}"
            self.display.note(f"trial {number}: {reused['images']} images are reused: trained in {origin}")
        before, self._images[number] = self._images.get(number, 0), result["images"]
        if "failure" not in result and not result.get("recalled"):
            self.tally.images += max(0, result["images"] - before)
            self.tally.images_open = max(0, self.tally.images_open - (result["images"] - before))
            self.display.note(f"trial {number}: {', '.join(_said(result, self.study.metric))}")
        self.tracker.touch(number)
        self._show()

    def ended(self, number: int, lost: bool) -> None:
        """A trial's training is over: sweep what it left."""
        self.ray.check()
        self.tally.running -= 1
        trial = self.folder.trial(number)
        if not trial.is_known:  # its process was lost before its first word
            trial.write_record(TrialRecord(number, self.log.history.values_of(number), "", "", started=time.time()))
        record = trial.record
        if record.training == "running":  # it did not end by itself
            record.training, record.ended = ("failed" if lost else "stopped"), time.time()
            record.reason = f"the trial's process was lost; see {self.folder.root / 'ray'}" if lost else ""
            if not lost:  # what was reused may go further than the decision to stop
                cut_back(trial.root, self.log.history.reached.get(number, 0))
            trial.write_record(record)
        if record.training == "failed":
            self.display.note(f"trial {number}: failed: {record.reason.splitlines()[0]}")
            self.outcomes.conclude(trial, None)
        else:
            if record.training == "stopped":
                self.display.note(f"trial {number}: stopped early")
            self.sweeps.submit(trial)
        self.tracker.touch(number)
        self._show()

    def budget_spent(self) -> bool:
        """Whether no further trial may begin; those that run are let run."""
        return self.checks.budget_spent()

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        """Whether a condition on the verdicts holds; while no trial trains, wait for the sweeps that may make it true."""
        self.look_around()
        while not condition() and not self.tally.running and self.sweeps.waiting:
            self.look_around(patience=1.0)
        return condition()

    def look_around(self, patience: float = 0.0) -> None:
        """Take in sweeps that have ended; stop where somebody asked for it, the disk is nearly full, or nothing can be tracked."""
        self._gather(patience)
        if self.checks.look(self.ray, self.tally.running) and time.monotonic() > self._copy_again:
            self.copy.update(self.log.history)
            self._copy_again = time.monotonic() + _COPIED_EVERY

    def _gather(self, patience: float) -> None:
        for outcome in self.sweeps.collect(patience):
            trial = self.folder.trial(outcome.number)
            sweep = trial.done_sweep or outcome.record  # a task may have been lost after its last write
            if sweep.error:
                self.ray.check()
                trial.write_sweep(sweep)
                again = "its training is damaged, and done again" if sweep.damaged else "it is tried again"
                self.display.note(f"trial {outcome.number}: EMA sweep failed; {again} by the next run: {sweep.error}")
            self.outcomes.conclude(trial, sweep)
            if best := sweep.best:
                self.display.note(
                    f"trial {outcome.number}: best {self.study.metric} {best['distance']:.3f} at sigma_rel {best['sigma_rel']:g} "
                    f"(sweep {sweep.seconds:.0f} s)"
                )
            self.tracker.touch(trial.number)
        self._show()

    def _learnt(self) -> list[Learnt]:
        """Trials of the studies that this one is to learn from, as they are when it begins."""
        from orchestrator.search.searcher import learnt_from

        found: list[Learnt] = []
        for name in self.study.search.warm_start:
            folder = self.work.study(name)
            end = next((stage["first"] for stage in stages(folder)), math.inf)  # a chain's trials are scored otherwise
            ended = [(trial.record, trial.sweep) for trial in folder.trials() if trial.number < end]
            found += learnt_from(self.study, recall(folder).study, ended)
        return found

    def _show(self) -> None:
        self.tally.sweeping = self.sweeps.waiting
        self.display.update(self.tally)
        self.metrics.update(self.tally.states, self.tally.images, self.tally.best)


def _said(result: Mapping[str, Any], metric: str) -> Iterator[str]:
    """A report in words; the one after a group of experts has no loss of its own."""
    yield f"{result['images']} images"
    if "experts_finished" in result:
        yield f"{result['experts_finished']:.0f} experts trained"
    if "loss" in result:
        yield f"loss {result['loss']:.4f}"
    yield f"interim {metric} {result[f'interim_{metric}']:.3f}"
    if "images_per_second" in result:
        yield f"{result['images_per_second']:.0f} images/s"
