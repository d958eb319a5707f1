"""Runs a study from its file to its last recorded number; goes on where an earlier run of it ended."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.cluster.addresses import without_password
from orchestrator.cluster.ray_cluster import prepare_environment, ray_cluster
from orchestrator.execution.tally import Display, Tally
from orchestrator.records.definition import Definition, define, recall
from orchestrator.records.folders import StudyFolder, SweepRecord, TrialFolder, WorkFolder
from search_spaces.study import Study
from trainables.errors import UserError
from trainables.files.storage import is_local

if TYPE_CHECKING:

    from orchestrator.search.verdicts import Verdict


_LEAST_AT_START, _LEAST_WHILE_RUNNING = 200 << 20, 100 << 20  # bytes
_SECONDS_BETWEEN_LOOKS = 1.0


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
    check_disk(work, _LEAST_AT_START)
    with folder.held():
        folder.cancel_request.unlink(missing_ok=True)
        definition = define(study, folder, without_password(search_storage))
        run = _Run(definition, work, folder, display, search_storage)
        if run.all_swept and folder.recorded_trials() == study.search.trials:
            return Summary(run.tally, already_done=True)
        return run.go(address, tracking_uri or work.tracking_uri)


def check_disk(work: WorkFolder, least: int) -> None:
    """UserError where too little is free (on a disk; other storage says so by itself)."""
    if not is_local(work.root):
        return
    free = shutil.disk_usage(work.root).free
    if free < least:
        raise UserError(
            f"{work.root}: only {free >> 20} MiB are free, and at least {least >> 20} MiB are needed for snapshots and records: "
            "free some space (sweep.keep_snapshots: none keeps less), and run the same command again to go on"
        )


class _Run:
    """One process's part of a study."""

    def __init__(self, definition: Definition, work: WorkFolder, folder: StudyFolder, display: Display, search_storage: str) -> None:
        prepare_environment()
        from orchestrator.search.verdicts import Verdicts

        self.definition, self.work, self.folder, self.display, self.search_storage = definition, work, folder, display, search_storage
        self.study = study = definition.study
        self.verdicts: dict[int, Verdict] = {}
        self.judged = Verdicts(study)
        self.tally = Tally(study.search.trials, study.base_recipe.duration.images)
        self.unswept: list[TrialFolder] = []
        self._look_again = 0.0
        for trial in folder.trials():
            self._recall(trial)
        self.tally.images_open = (study.search.trials - self.tally.done) * self.tally.images_per_trial

    @property
    def all_swept(self) -> bool:
        """Whether every trial has been trained and scored; what is left may be to tell Optuna and MLflow."""
        return self.tally.done >= self.study.search.trials and not self.unswept

    def go(self, address: str | None, tracking_uri: str) -> Summary:
        from orchestrator.cluster.metrics import StudyMetrics
        from orchestrator.execution.sweep_tasks import SweepTasks
        from orchestrator.execution.tuning import tune_study
        from orchestrator.records.tracker import Tracker
        from orchestrator.search.searcher import StudySearch
        from orchestrator.search.storage import importances, open_state

        self.tracker = Tracker(self.folder, tracking_uri, self.work.artifacts, self.judged.bounds)
        self.tracker.start()
        try:
            state = open_state(self.folder, self.definition, self.search_storage)
            trained = {trial.number for trial in self.unswept}
            searcher = StudySearch(self.study, state, self.verdicts, trained, self, self._earlier_trials())
            if not self.all_swept:
                with ray_cluster(self.study.compute, address) as self.ray:
                    self.display.note(f"Ray is up; starting {self.study.compute.workers or 'no'} training worker(s) (about 15 s)")
                    self.metrics = StudyMetrics(self.study.name, self.study.metric)
                    self.sweeps = SweepTasks(self.study, self.folder.root / "trials", self.work.cache)
                    self.sweeps.warm_up()
                    for trial in self.unswept:
                        self.sweeps.submit(trial)
                    tune_study(self.study, searcher, self, self.work, self.folder)
                    while self.sweeps.waiting:
                        self.gather(timeout=1.0)
            searcher.tell_all()
            self.tracker.close("FINISHED", importances(state))
        except BaseException as error:
            self.tracker.close("FAILED" if isinstance(error, Exception) else "KILLED")
            try:
                self.tracker.wait()
            except UserError as untracked:
                if str(untracked) != str(error):
                    self.display.note(str(untracked))
            raise
        self.tracker.wait()
        self.folder.write_recorded(self.study.search.trials)
        return Summary(self.tally)

    def began(self, number: int) -> None:
        self.tally.running += 1
        self.display.note(f"trial {number}: training")
        self._show()

    def reported(self, result: dict[str, Any]) -> None:
        number = result.get("config", {}).get("number")
        if number is None or "images" not in result:
            return  # Tune's own message that a trial is done
        if "failure" not in result:
            self.tally.images += self.study.base_recipe.evaluation.every
            self.tally.images_open = max(0, self.tally.images_open - self.study.base_recipe.evaluation.every)
            self.display.note(
                f"trial {number}: {result['images']} images, loss {result['loss']:.4f}, "
                f"interim {self.study.metric} {result[f'interim_{self.study.metric}']:.3f}, {result['images_per_second']:.0f} images/s"
            )
        self.tracker.touch(number)
        self._show()

    def ended(self, number: int, lost: bool) -> None:
        """A trial's training is over: sweep what it left."""
        self.ray.check()
        self.tally.running -= 1
        folder = self.folder.trial(number)
        record = folder.record
        if record.training == "running":  # it did not end by itself
            record.training, record.ended = ("failed" if lost else "stopped"), time.time()
            record.reason = f"the trial's process was lost; see {self.folder.root / 'ray'}" if lost else ""
            folder.write_record(record)
        if record.training == "failed":
            self.display.note(f"trial {number}: failed: {record.reason.splitlines()[0]}")
            self._conclude(folder, None)
        else:
            if record.training == "stopped":
                self.display.note(f"trial {number}: stopped early")
            self.sweeps.submit(folder)
        self.tracker.touch(number)
        self._show()

    def budget_spent(self) -> bool:
        """Whether no further trial may begin; those that run are let run."""
        spent = self.judged.budget_spent(self.folder)
        if spent:
            self.display.note("the budget is used up: no further trial begins")
        return spent

    def _earlier_trials(self) -> list[Any]:
        """Trials of the studies that this one is to learn from."""
        from orchestrator.search.searcher import learnt_from
        from orchestrator.search.storage import open_state

        found: list[Any] = []
        for name in self.study.search.warm_start:
            folder = self.work.study(name)
            earlier = recall(folder)
            if earlier.search_storage not in ("", without_password(self.search_storage)):
                raise UserError(f"search.warm_start: study {name} lies in {earlier.search_storage}: give that as --search-storage")
            state = open_state(folder, earlier, self.search_storage if earlier.search_storage else "")
            found += learnt_from(self.study, earlier.study, state)
        return found

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        """Whether a condition on the verdicts holds; while no trial trains, wait for the sweeps that may make it true."""
        self.gather()
        while not condition() and not self.tally.running and self.sweeps.waiting:
            self.gather(timeout=1.0)
        return condition()

    def gather(self, timeout: float = 0.0) -> None:
        """Take in sweeps that have ended."""
        for outcome in self.sweeps.collect(timeout):
            folder = self.folder.trial(outcome.number)
            if outcome.record.error:
                self.ray.check()
                record = folder.record
                record.training, record.reason = "failed", outcome.record.error
                folder.write_record(record)
                self.display.note(f"trial {outcome.number}: EMA sweep failed: {outcome.record.error}")
            self._conclude(folder, outcome.record)
            best = outcome.record.best
            if best:
                self.display.note(
                    f"trial {outcome.number}: best {self.study.metric} {best['distance']:.3f} at sigma_rel {best['sigma_rel']:g} "
                    f"(sweep {outcome.record.seconds:.0f} s)"
                )
            self.tracker.touch(folder.number)
        self._show()

    def look_around(self) -> None:
        """Take in sweeps; stop where somebody asked for it, where the disk is nearly full, or where nothing can be tracked."""
        self.gather()
        if time.monotonic() < self._look_again:
            return
        self._look_again = time.monotonic() + _SECONDS_BETWEEN_LOOKS
        self.ray.check()
        if self.folder.cancel_request.exists():
            self.display.note("asked to stop by snrlab cancel")
            raise KeyboardInterrupt
        check_disk(self.work, _LEAST_WHILE_RUNNING)
        self.tracker.check()

    def _show(self) -> None:
        self.tally.sweeping = self.sweeps.waiting
        self.display.update(self.tally)
        self.metrics.update(self.tally.states, self.tally.images, self.tally.best)

    def _recall(self, trial: TrialFolder) -> None:
        """Take up a trial of an earlier run of this study."""
        record = trial.record
        if record.training == "failed":
            self._conclude(trial, None)
        elif record.training != "running":
            sweep = trial.sweep
            if sweep:
                self._conclude(trial, sweep)
            else:
                self.unswept.append(trial)

    def _conclude(self, trial: TrialFolder, sweep: SweepRecord | None) -> None:
        """Count a trial that is over, and make its verdict for the search."""
        from orchestrator.search.verdicts import COMPLETE, STOPPED

        record = trial.record
        verdict = self.verdicts[trial.number] = self.judged.verdict(record, sweep)
        best = sweep.best if sweep else None
        if verdict.state == COMPLETE:
            assert best
            self.tally.completed += 1
            if verdict.feasible and (self.tally.best is None or best["distance"] < self.tally.best):
                self.tally.best, self.tally.best_trial = best["distance"], trial.number
        elif verdict.state == STOPPED:
            assert best
            self.tally.stopped += 1
            self.tally.images_open = max(0, self.tally.images_open - (self.tally.images_per_trial - best["images"]))
        else:
            self.tally.failed += 1
