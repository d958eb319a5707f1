"""A study's state from its folder alone."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from orchestrator.cli.status import status_table, trial_statuses
from orchestrator.records.folders import StudyFolder, TrialRecord, WorkFolder
from search_spaces.study import Study, make_study
from tests.conftest import tiny_fields
from trainables.training import metrics_log


def study_in(folder: StudyFolder) -> Study:
    """A study whose trials have several lengths, a trial of each kind behind it."""
    study = make_study({"name": "s", "base": tiny_fields(), "space": {"duration.images": [256, 1024]}, "search": {"trials": 5}})
    for number, (training, images) in enumerate([("running", 1024), ("running", 256), ("infeasible", 256), ("failed", 1024)]):
        trial = folder.trial(number)
        ended = 0.0 if training == "running" else time.time()
        trial.write_record(TrialRecord(number, {"duration.images": images}, "", "", training, started=time.time() - 9, ended=ended))
        if training == "running":
            metrics_log.append(trial.root, {"images": 128, "images_per_second": 64.0, "interim_fd_probe": 5.0})
    return study


def test_what_is_left_follows_each_trial_s_own_length(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path).study("s")
    left = [s.seconds_left for s in trial_statuses(folder, study_in(folder))]
    assert left == [(1024 - 128) / 64, (256 - 128) / 64, None, None]


def test_infeasible_trials_are_shown(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path).study("s")
    console = Console(width=200, record=True, file=(tmp_path / "out").open("w"))
    console.print(status_table(folder, study_in(folder)))
    shown = console.export_text()
    assert "2 of 5 trials ended, 1 of them infeasible" in shown
