"""A trial's actor without Ray: what it reports when it is new, resumed, or has its training from the store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from orchestrator.execution.dispatcher import Message
from orchestrator.execution.sweep_tasks import run_sweep
from orchestrator.execution.trial import Trial
from orchestrator.records import events
from orchestrator.records.folders import WorkFolder
from search_spaces.study import Study, make_study
from tests.conftest import tiny_fields
from trainables.ema.snapshots import list_snapshots
from trainables.errors import UserError
from trainables.training import checkpoint, metrics_log
from trainables.training.resume import cut_back


def study_of(name: str, **compute: Any) -> Study:
    return make_study({"name": name, "base": tiny_fields(), "space": {"seed": [0, 1]}, "compute": {"workers": 0, **compute}})


def actor(study: Study, work: Path, number: int = 0, decided: int = 0) -> Trial:
    made = object.__new__(Trial)
    folder = WorkFolder(work)
    config = {"number": number, "values": {"seed": 0}, "decided": decided}
    made.setup(config, json.dumps(study.packed), None, str(folder.study(study.name).root / "trials"), str(folder.cache), str(folder.store))
    return made


def reports(trial: Trial) -> list[dict[str, Any]]:
    found = []
    while not found or not found[-1]["done"]:
        found.append(trial.step())
    trial.cleanup()
    return found


@pytest.fixture
def first(tmp_path: Path) -> list[dict[str, Any]]:
    """Reports of a trial that trains."""
    return reports(actor(study_of("first"), tmp_path))


def scores(found: list[dict[str, Any]]) -> list[tuple[int, float]]:
    return [(r["images"], r["interim_fd_probe"]) for r in found]


def test_training_that_is_reused_is_reported_as_if_it_happened_here_and_now(first, tmp_path: Path) -> None:
    assert [r["images"] for r in first] == [128, 256] and not any(r["recalled"] or r["reused"] for r in first)
    again = reports(actor(study_of("second"), tmp_path, number=3))
    assert scores(again) == scores(first)
    assert again[0]["recalled"] and again[0]["reused"] == {"images": 256, "study": "first", "trial": 0} and not again[1]["reused"]
    trial = WorkFolder(tmp_path).study("second").trial(3)
    assert trial.record.reused == again[0]["reused"] and trial.record.training == "completed"
    assert any("reused" in line and "study=first" in line for line in events.lines(trial.root))


def test_a_trial_that_is_stopped_before_the_end_of_what_it_reuses_is_cut_back(first, tmp_path: Path) -> None:
    trial = actor(study_of("second"), tmp_path)
    assert trial.step()["images"] == 128
    folder = WorkFolder(tmp_path).study("second").trial(0).root
    assert checkpoint.images(folder) == 256
    cut_back(folder, 128)
    assert checkpoint.images(folder) == 0 and max(s.images for s in list_snapshots(folder / "snapshots")) == 128
    assert [row["images"] for row in metrics_log.read(folder)] == [128]
    sweep = run_sweep(str(folder), 0, study_of("second").sweep.model_dump_json(), False, str(tmp_path / "runs/cache"), 1, 0.0)
    assert sweep.best and {point["images"] for point in sweep.points} == {128}  # no worker has seen the trial
    trial.cleanup()
    kept = actor(study_of("third"), tmp_path)
    assert scores(reports(kept)) == scores(first)  # what the store has is what it had


def test_a_sweep_task_that_is_run_again_after_its_last_write_gives_what_it_wrote(first, tmp_path: Path) -> None:
    study, folder = study_of("first"), WorkFolder(tmp_path).study("first").trial(0)
    task = (str(folder.root), 0, study.sweep.model_dump_json(), False, str(tmp_path / "runs/cache"), 1, 0.0)
    record = run_sweep(*task)
    shutil.rmtree(folder.root / "snapshots")  # an earlier task may have dropped what it no longer needed
    assert run_sweep(*task) == record and record.best


def test_a_resumed_trial_reports_what_has_not_been_decided_and_nothing_twice(tmp_path: Path) -> None:
    study = study_of("first")
    trial = actor(study, tmp_path)
    before = trial.step()
    assert before["images"] == 128
    trial._lock.release()  # killed here, with or without a decision
    assert [r["images"] for r in reports(actor(study, tmp_path))] == [128, 256]
    unbroken = scores(reports(actor(study_of("unbroken", reuse=False), tmp_path)))
    assert unbroken[0] == scores([before])[0]


@pytest.mark.parametrize(("decided", "left"), [(0, [128, 256]), (128, [256])])
def test_decisions_that_were_taken_are_not_asked_for_again(decided: int, left: list[int], tmp_path: Path) -> None:
    study = study_of("first")
    killed = actor(study, tmp_path)
    killed.step()
    killed._lock.release()
    resumed = reports(actor(study, tmp_path, decided=decided))
    assert [r["images"] for r in resumed] == left


def test_without_reuse_everything_is_trained(first, tmp_path: Path) -> None:
    again = reports(actor(study_of("second", reuse=False), tmp_path))
    assert scores(again) == scores(first) and not any(r["recalled"] or r["reused"] for r in again)


def test_a_damaged_row_of_an_interrupted_trial_costs_its_training_and_changes_no_score(first, tmp_path: Path) -> None:
    study = study_of("second", reuse=False)
    actor(study, tmp_path).step()
    log = WorkFolder(tmp_path).study("second").trial(0).root / "metrics.jsonl"
    log.write_bytes(log.read_bytes().replace(b"128", b"129", 1))
    assert scores(reports(actor(study, tmp_path))) == scores(first)


def test_the_odd_end_of_a_shorter_run_is_no_report_of_a_longer_one(tmp_path: Path) -> None:
    def lasting(name: str, images: int) -> Study:
        base = tiny_fields(duration={"images": images, "batch_size": 32})
        return make_study({"name": name, "base": base, "space": {"seed": [0, 1]}, "compute": {"workers": 0}})

    assert [r["images"] for r in reports(actor(lasting("short", 192), tmp_path))] == [128, 192]
    assert [r["images"] for r in reports(actor(lasting("long", 384), tmp_path))] == [128, 256, 384]


def test_what_a_trial_cannot_read_is_its_reason(first, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*_: Any) -> None:
        raise UserError("store: cannot be read; do this")

    monkeypatch.setattr("orchestrator.records.store.Store.take", unreadable)
    assert reports(actor(study_of("second"), tmp_path)) == [{"done": True, "failure": "store: cannot be read; do this", "images": 0}]
    assert WorkFolder(tmp_path).study("second").trial(0).record.reason == "store: cannot be read; do this"


@pytest.mark.parametrize("when", ["before it told", "after it told"])
def test_a_worker_that_was_lost_at_a_report_loses_no_report_and_tells_none_twice(
    when: str, first, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = actor(study_of("second", reuse=False), tmp_path)
    assign, told = trial._group.assign, trial._group.next_message

    def lost_once() -> Message:
        monkeypatch.setattr(trial._group, "next_message", told)
        message = told()  # the checkpoint of 128 images has been written
        again.append(True)
        assign(trial._recipe.canonical_json, trial._folder.root, trial._cache, None)  # as Train does: the same recipe anew
        return told() if when == "before it told" else message

    again: list[bool] = []
    monkeypatch.setattr(trial._group, "next_message", lost_once)
    found = reports(trial)
    assert again and scores(found) == scores(first)
