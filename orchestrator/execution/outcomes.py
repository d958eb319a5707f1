"""What the trials of a study have come to: verdicts for the search, and the tally that people see."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.execution.tally import Tally
from orchestrator.records.folders import StudyFolder, SweepRecord, TrialFolder, TrialRecord
from orchestrator.search.history import History
from orchestrator.search.seeds import Seeds
from orchestrator.search.verdicts import COMPLETE, FAILED, STOPPED, Verdict, Verdicts
from search_spaces.study import Study
from trainables.metrics.means import mean_score
from trainables.stages.composition import total_images
from trainables.training import metrics_log
from trainables.training.resume import forget_training


class Outcomes:
    """Read from the trials' folders at the start, and kept up as trials end."""

    def __init__(self, study: Study, folder: StudyFolder, history: History | None = None) -> None:
        """`history` says which trials are seeds of one proposal."""
        self._study, self.judged = study, Verdicts(study)
        self._history, self._seeds = history or History(), Seeds(study)
        self._distances: dict[int, float] = {}  # of completed trials
        self.verdicts: dict[int, Verdict] = {}
        self.curves: dict[int, list[tuple[int, float]]] = {}  # (images, intermediate score) of trials that are trained
        self.unswept: list[TrialFolder] = []  # trained, and to be swept: for the first time, or again after a failure
        self._interim = f"interim_{study.metric}"
        self.tally = Tally(study.trials_wanted, total_images(study.base_recipe))
        for trial in folder.trials():
            self._recall(trial)
        self._leave_out_spared()
        self.tally.images_open = max(0, self.tally.trials - self.tally.done) * self.tally.images_per_trial

    def conclude(self, trial: TrialFolder, sweep: SweepRecord | None) -> None:
        """Count a trial that is over, and make its verdict."""
        self._count(trial, sweep)
        self._leave_out_spared()

    def _count(self, trial: TrialFolder, sweep: SweepRecord | None) -> None:
        record = trial.record
        curve = self.curves[trial.number] = self._curve(trial, record)
        verdict = self.verdicts[trial.number] = self.judged.verdict(record, sweep, curve)
        tally, best = self.tally, sweep.best if sweep else None
        if verdict.infeasible:
            tally.infeasible += 1
        elif verdict.state == COMPLETE and best:
            tally.completed += 1
            self._distances[trial.number] = best["distance"]
            if trial.number not in self._history.staged:
                self._rank(trial.number, verdict)
        elif verdict.state == STOPPED and best:
            tally.stopped += 1
            tally.images_open = max(0, tally.images_open - (tally.images_per_trial - best["images"]))
        else:
            tally.failed += 1

    def _leave_out_spared(self) -> None:
        """Trials that will not be run are not waited for."""
        if self._seeds.several:
            self.tally.trials = self._study.trials_wanted - self._seeds.spared(self._history, self.verdicts)
        elif self._history.spared:
            self.tally.trials = self._study.trials_wanted - len(self._history.spared)

    def _rank(self, number: int, verdict: Verdict) -> None:
        """Keep the best score: of a trial, or the mean of a proposal's seeds once all are in."""
        trials, whole = [number], verdict
        if self._seeds.several:
            proposal = self._history.trials[number].proposal
            trials = self._history.trials_of[proposal]
            whole = self._seeds.verdict(self._history, proposal, self.verdicts) or Verdict(FAILED)
        if whole.state != COMPLETE or not whole.feasible:
            return
        score = mean_score(self._study.metric, [self._distances[trial] for trial in trials])
        if self.tally.best is None or score < self.tally.best:
            self.tally.best, self.tally.best_trial, self.tally.best_seeds = score, trials[0], len(trials)

    def _recall(self, trial: TrialFolder) -> None:
        """Take up a trial of an earlier run of this study; one that was training goes on, and has no outcome."""
        record, sweep = trial.record, trial.sweep
        training = record.training
        if training in ("failed", "infeasible"):
            self._count(trial, None)
        elif training != "running" and sweep and not sweep.error:
            metrics_log.check_rows(trial.root, max(point["images"] for point in sweep.points))
            self._count(trial, sweep)
        elif training != "running" and sweep and sweep.damaged:
            forget_training(trial.root)
            trial.drop_sweep()
            trial.write_record(replace(record, training="running", ended=0.0))
        elif training != "running":
            self.curves[trial.number] = self._curve(trial, record)
            self.unswept.append(trial)

    def _curve(self, trial: TrialFolder, record: TrialRecord) -> list[tuple[int, float]]:
        if record.training == "infeasible":
            return []
        rows = metrics_log.reports(trial.root, self._study.recipe(record.values))
        return [(int(row["images"]), float(row[self._interim])) for row in rows if self._interim in row]
