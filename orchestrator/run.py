"""Runs a study from its file to its last recorded number; goes on where an earlier run of it ended."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.cluster import prepare_environment, ray_cluster
from orchestrator.definition import define, recall
from orchestrator.display import Display, Tally
from orchestrator.folders import StudyFolder, SweepRecord, TrialFolder, WorkFolder
from search_spaces.search import Asha, HyperBand, Median
from search_spaces.study import Study
from trainables.errors import UserError

if TYPE_CHECKING:
    from ray.tune.search import Searcher


_LEAST_AT_START, _LEAST_WHILE_RUNNING = 200 << 20, 100 << 20  # bytes


@dataclass(frozen=True)
class Summary:
    """How a study ended."""

    tally: Tally
    already_done: bool = False

    @property
    def exit_code(self) -> int:
        return 3 if self.tally.failed else 0


def run_study(study: Study, work: WorkFolder, display: Display, address: str | None = None, tracking_uri: str | None = None) -> Summary:
    """Run or go on with a study; UserError where it cannot be, KeyboardInterrupt after a clean stop."""
    folder = work.study(study.name)
    study.base_recipe.check_files()
    check_disk(work, _LEAST_AT_START)
    with folder.held():
        folder.cancel_request.unlink(missing_ok=True)
        study_id = define(study, folder)
        run = _Run(study, study_id, work, folder, display)
        if run.all_swept and folder.recorded_trials() == study.search.trials:
            return Summary(run.tally, already_done=True)
        return run.go(address, tracking_uri or work.tracking_uri)


def check_disk(work: WorkFolder, least: int) -> None:
    """UserError where too little is free."""
    free = shutil.disk_usage(work.root).free
    if free < least:
        raise UserError(
            f"{work.root}: only {free >> 20} MiB are free, and at least {least >> 20} MiB are needed for snapshots and records: "
            "free some space (sweep.keep_snapshots: none keeps less), and run the same command again to go on"
        )


class _Run:
    """One process's part of a study."""

    def __init__(self, study: Study, study_id: str, work: WorkFolder, folder: StudyFolder, display: Display) -> None:
        prepare_environment()
        from orchestrator import search
        from orchestrator.judge import Judge

        self.study, self.study_id, self.work, self.folder, self.display = study, study_id, work, folder, display
        self.storage = search.open_storage(folder.journal)
        self.verdicts: dict[int, search.Verdict] = {}
        self.judge = Judge(study)
        self.tally = Tally(study.search.trials, study.base_recipe.duration.images)
        self.unswept: list[TrialFolder] = []
        for trial in folder.trials():
            self._recall(trial)
        self.tally.images_open = (study.search.trials - self.tally.done) * self.tally.images_per_trial

    @property
    def all_swept(self) -> bool:
        """Whether every trial has been trained and scored; what is left may be to tell Optuna and MLflow."""
        return self.tally.done >= self.study.search.trials and not self.unswept

    def go(self, address: str | None, tracking_uri: str) -> Summary:
        from orchestrator import search
        from orchestrator.sweeps import SweepDesk
        from orchestrator.tracking import Tracker

        self.tracker = Tracker(self.study, self.study_id, tracking_uri, self.work.artifacts)
        self.tracker.start()
        for trial in self.folder.trials():
            self.tracker.touch(trial)
        status = "KILLED"
        try:
            searcher = search.StudySearch(
                self.study, self.storage, self.verdicts, {t.number for t in self.unswept}, self.wait_for, self.budget_spent,
                self._earlier_trials(),
            )
            if not self.all_swept:
                with ray_cluster(self.study.compute, address):
                    self.display.note(f"Ray is up; starting {self.study.compute.workers or 'no'} training worker(s) (about 15 s)")
                    self.sweeps = SweepDesk(self.study, self.folder.root / "trials", self.work.cache)
                    self.sweeps.warm_up()
                    for trial in self.unswept:
                        self.sweeps.submit(trial)
                    self._search(searcher)
            searcher.tell_all()
            status = "FINISHED"
        except Exception:
            status = "FAILED"
            raise
        finally:
            shares = search.importances(self.storage, self.study) if status == "FINISHED" else {}
            self.tracker.finish(status, shares)
        self.folder.write_recorded(self.study.search.trials)
        return Summary(self.tally)

    def _search(self, searcher: Searcher) -> None:
        import ray
        from ray import tune
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from orchestrator.switchboard import Switchboard
        from orchestrator.trial import Trial

        study = self.study
        # It lives and dies with this driver, wherever else a node is lost.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        switchboard = Switchboard.options(scheduling_strategy=here).remote()  # type: ignore[attr-defined]
        trainable = tune.with_parameters(
            Trial, study=study, switchboard=switchboard, folder=str(self.folder.root / "trials"), cache=str(self.work.cache),
            store=str(self.work.store),
        )
        # The driver of a trial only waits: a token of memory instead of a CPU keeps it from starving its own workers.
        resources: dict[str, float] = {"memory": 1 << 20} if study.compute.workers else {"CPU": study.compute.cpus_per_worker}
        tuner = tune.Tuner(
            tune.with_resources(trainable, resources),
            tune_config=tune.TuneConfig(
                search_alg=searcher, scheduler=_scheduler(study), num_samples=-1, reuse_actors=True,
                max_concurrent_trials=study.compute.concurrent_trials,
            ),
            run_config=tune.RunConfig(
                name="tune", storage_path=str((self.folder.root / "ray").absolute()), verbose=0, callbacks=[_callback(self)],
                failure_config=tune.FailureConfig(max_failures=study.compute.max_failures),
            ),
        )
        tuner.fit()
        while self.sweeps.waiting:
            self.gather(timeout=1.0)
        ray.kill(switchboard)

    def began(self, number: int) -> None:
        self.tally.running += 1
        self.display.note(f"trial {number}: training")
        self.display.update(self.tally)

    def reported(self, number: int, result: dict[str, Any]) -> None:
        if "failure" not in result:
            self.tally.images += self.study.base_recipe.evaluation.every
            self.tally.images_open = max(0, self.tally.images_open - self.study.base_recipe.evaluation.every)
            self.display.note(
                f"trial {number}: {result['images']} images, loss {result['loss']:.4f}, "
                f"interim {self.study.metric} {result[f'interim_{self.study.metric}']:.3f}, {result['images_per_second']:.0f} images/s"
            )
        self.tracker.touch(self.folder.trial(number))
        self.display.update(self.tally)

    def ended(self, number: int) -> None:
        """A trial's training is over: sweep what it left."""
        self.tally.running -= 1
        folder = self.folder.trial(number)
        record = folder.record
        if record.training == "running":  # it did not end by itself, so the scheduler stopped it
            record.training, record.ended = "stopped", time.time()
            folder.write_record(record)
            self.display.note(f"trial {number}: stopped early")
        if record.training == "failed":
            self.display.note(f"trial {number}: failed: {record.reason.splitlines()[0]}")
            self._conclude(folder, None)
        else:
            self.sweeps.submit(folder)
        self.tracker.touch(folder)
        self._count_sweeps()

    def budget_spent(self) -> bool:
        """Whether no further trial may begin; those that run are let run."""
        spent = self.judge.budget_spent(self.folder)
        if spent:
            self.display.note("the budget is used up: no further trial begins")
        return spent

    def _earlier_trials(self) -> list[Any]:
        """Trials of the studies that this one is to learn from."""
        from orchestrator import search

        found: list[Any] = []
        for name in self.study.search.warm_start:
            folder = self.work.study(name)
            found += search.learnt_from(self.study, recall(folder)[0], search.open_storage(folder.journal))
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
            self.tracker.touch(folder)
        self._count_sweeps()

    def look_around(self) -> None:
        """Stop where somebody asked for it, or where the disk is nearly full."""
        if self.folder.cancel_request.exists():
            self.display.note("asked to stop by snrlab cancel")
            raise KeyboardInterrupt
        check_disk(self.work, _LEAST_WHILE_RUNNING)

    def _count_sweeps(self) -> None:
        self.tally.sweeping = self.sweeps.waiting
        self.display.update(self.tally)

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
        from orchestrator.search import COMPLETE, STOPPED

        record = trial.record
        verdict = self.verdicts[trial.number] = self.judge.verdict(record, sweep)
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


def _scheduler(study: Study) -> Any:
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule

    common: dict[str, Any] = {"time_attr": "images", "metric": f"interim_{study.metric}", "mode": "min"}
    longest = study.base_recipe.duration.images
    match study.search.early_stopping:
        case Asha(grace_images=grace, reduction_factor=factor):
            return ASHAScheduler(**common, max_t=longest, grace_period=grace, reduction_factor=factor)
        case HyperBand(grace_images=grace, reduction_factor=factor, brackets=brackets):
            return ASHAScheduler(**common, max_t=longest, grace_period=grace, reduction_factor=factor, brackets=brackets)
        case Median(grace_images=grace, min_trials=trials):
            return MedianStoppingRule(**common, grace_period=grace, min_samples_required=trials)
    return FIFOScheduler()


def _callback(run: _Run) -> Any:
    from ray import tune

    class Events(tune.Callback):
        """Tune's events, passed on."""

        def __reduce__(self) -> Any:
            return tune.Callback, ()  # Tune pickles its own state beside the trials; nobody ever reads it

        def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            run.began(trial.config["number"])

        def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
            run.reported(trial.config["number"], result)

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            run.ended(trial.config["number"])

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            folder = run.folder.trial(trial.config["number"])
            record = folder.record
            record.training, record.reason, record.ended = "failed", f"the trial's process was lost; see {trial.local_path}", time.time()
            folder.write_record(record)
            run.ended(trial.config["number"])

        def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
            run.gather()
            run.look_around()

    return Events()
