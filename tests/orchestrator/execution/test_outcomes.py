"""What is recalled of an earlier run: verdicts, trials that lack their sweep, budgets, trials that are to run again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.execution.outcomes import Outcomes
from orchestrator.execution.run import _StudyRun
from orchestrator.execution.sweep_tasks import Outcome
from orchestrator.records.folders import StudyFolder, SweepRecord, TrialRecord, WorkFolder
from orchestrator.records.retry import let_run_again
from orchestrator.records.usage import UsageClock
from orchestrator.search.verdicts import COMPLETE
from search_spaces.study import make_study
from tests.conftest import tiny_fields
from trainables.errors import UserError
from trainables.training import metrics_log

STUDY = make_study({"name": "s", "base": tiny_fields(), "space": {"seed": [0, 1]}, "search": {"trials": 6}})
POINT = {"sigma_rel": 0.1, "images": 256, "guidance_weight": 1.0, "guide_sigma_rel": None, "distance": 3.0, "metrics": {"fd_probe": 3.0}}


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    """Trials in every state."""
    found = WorkFolder(tmp_path).study("s")
    for number, training in enumerate(("completed", "stopped", "failed", "running", "completed", "completed", "infeasible")):
        found.trial(number).write_record(TrialRecord(number, {}, "", "", training, reason="why" if training == "failed" else ""))  # type: ignore[arg-type]
    for number in (0, 1):
        found.trial(number).write_sweep(SweepRecord("fd_probe", [POINT]))
        for images in (128, 256):
            metrics_log.append(found.trial(number).root, {"images": images, "time": 0.0, "interim_fd_probe": 7.0 + number})
    found.trial(4).write_sweep(SweepRecord("fd_probe", error="out of memory"))
    return found


def test_a_failed_sweep_is_tried_again_and_counts_for_nothing_until_then(folder: StudyFolder) -> None:
    outcomes = Outcomes(STUDY, folder)
    assert [trial.number for trial in outcomes.unswept] == [4, 5] and sorted(outcomes.verdicts) == [0, 1, 2, 6]
    tally = outcomes.tally
    assert (tally.completed, tally.stopped, tally.failed, tally.infeasible, tally.best_trial) == (1, 1, 1, 1, 0)
    assert outcomes.verdicts[1].curve == ((128, 8.0), (256, 8.0)) and outcomes.curves[5] == [] and outcomes.verdicts[6].infeasible


def test_training_whose_stored_averages_are_damaged_is_done_again(folder: StudyFolder) -> None:
    trial = folder.trial(4)
    trial.write_sweep(SweepRecord("fd_probe", error="...: does not match its checksums", damaged=True))
    (trial.root / "checkpoint.safetensors").write_bytes(b"x")
    outcomes = Outcomes(STUDY, folder)
    assert [t.number for t in outcomes.unswept] == [5] and 4 not in outcomes.verdicts
    assert trial.record.training == "running" and trial.sweep is None and not (trial.root / "checkpoint.safetensors").exists()


def test_retry_lets_failed_trials_run_again_and_no_others(folder: StudyFolder) -> None:
    assert let_run_again(folder, 0) == [] and let_run_again(folder) == [2]
    record = folder.trial(2).record
    assert record.training == "running" and not record.reason
    assert let_run_again(folder) == [] and 2 not in Outcomes(STUDY, folder).verdicts


def test_a_budget_counts_what_ran_over_all_runs_and_no_downtime(folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    clock = UsageClock(folder, gpus_per_trial=2.0)
    for _ in range(60):
        now += 30.0
        clock.tick(training=3)
    assert clock.used.hours == pytest.approx(0.5) and clock.used.gpu_hours == pytest.approx(3.0)
    now += 36_000.0  # killed, and taken up ten hours later
    later = UsageClock(folder, gpus_per_trial=2.0)
    assert later.used.hours == pytest.approx(0.5, abs=0.01)
    later.tick(training=0)
    now += 7_200.0  # the machine slept
    later.tick(training=1)
    assert later.used.hours < 0.53


def test_a_sweep_that_ends_just_as_it_is_given_up_counts_as_done(folder: StudyFolder) -> None:
    trial, notes = folder.trial(5), []
    run = object.__new__(_StudyRun)
    run.folder, run.outcomes = folder, Outcomes(STUDY, folder)
    run.study, run.ray = STUDY, SimpleNamespace(check=lambda: None)
    run.display, run.tracker = SimpleNamespace(note=notes.append, update=lambda _: None), SimpleNamespace(touch=lambda _: None)
    run.metrics = SimpleNamespace(update=lambda *_: None)
    run.sweeps = SimpleNamespace(waiting=0, collect=lambda _: [Outcome(5, SweepRecord("fd_probe", error="took longer than ..."))])
    trial.write_sweep(SweepRecord("fd_probe", [POINT]))
    run._gather(0.0)
    assert run.outcomes.verdicts[5].state == COMPLETE and trial.sweep.best == POINT and not any("failed" in note for note in notes)


@pytest.mark.parametrize("left", [None, 0, 1])
def test_metrics_that_stop_before_what_was_trained_are_not_taken_for_all(folder: StudyFolder, left: int | None) -> None:
    path = metrics_log.path(folder.trial(0).root)
    lines = path.read_text().splitlines(keepends=True)
    path.unlink()
    if left is not None:
        path.write_text("".join(lines[:left]))
    with pytest.raises(UserError, match=r"metrics\.jsonl: ends before 256 images.*delete the folder"):
        Outcomes(STUDY, folder)
