"""Step-adaptive trials without Ray: stages through the store, reports over all stages, kills, sweeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.execution.sweep_tasks import run_sweep
from orchestrator.execution.trial import Trial
from orchestrator.records import events, stage_store
from orchestrator.records.folders import SweepRecord, TrialFolder, WorkFolder
from orchestrator.records.stage_store import StageStore, reused
from search_spaces.study import Study, make_study
from tests.trainables.stages.recipes import stepwise
from trainables.errors import ConfigError
from trainables.stage_key import stage_key
from trainables.stages.composition import base_recipe
from trainables.stages.stage import Stage
from trainables.training import checkpoint, loop, metrics_log
from trainables.training.resume import cut_back

VALUES = [{"experts.budgets.k": 0.6}, {"experts.budgets.k": 0.8}]


def study_of(name: str, **fields: Any) -> Study:
    base = stepwise().model_dump(mode="json")
    return make_study({"name": name, "base": base, "space": {"experts.budgets.k": {"low": 0.5, "high": 1.0}},
                       "sweep": {"sigma_rels": [0.08, 0.12]}, "compute": {"workers": 0}, **fields})


def actor(study: Study, work: Path, number: int = 0, decided: int = 0) -> Trial:
    made, folder = object.__new__(Trial), WorkFolder(work)
    config = {"number": number, "values": VALUES[number], "decided": decided}
    made.setup(config, json.dumps(study.packed), None, str(folder.study(study.name).root / "trials"), str(folder.cache), str(folder.store))
    return made


def reports(trial: Trial) -> list[dict[str, Any]]:
    found = [trial.step()]
    while not found[-1]["done"]:
        found.append(trial.step())
    trial.cleanup()
    return found


def swept(study: Study, work: Path, number: int = 0) -> tuple[TrialFolder, SweepRecord]:
    trial = WorkFolder(work).study(study.name).trial(number)
    return trial, run_sweep(str(trial.root), number, study.sweep.model_dump_json(), False, str(work / "cache"), 1, 0.0)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[dict[str, Any]]]]:
    """Two trials with one base, and their reports."""
    folder = tmp_path_factory.mktemp("experts")
    study = study_of("first")
    return folder, [reports(actor(study, folder, number)) for number in (0, 1)]


def test_a_base_is_trained_once_and_reported_by_every_trial(work) -> None:
    folder, (first, second) = work
    assert [r["images"] for r in first] == [r["images"] for r in second] == [128, 256, 384, 512]
    assert [r["interim_fd_probe"] for r in first[:2]] == [r["interim_fd_probe"] for r in second[:2]]
    assert not any(r["recalled"] for r in first) and [r["recalled"] for r in second] == [True, True, False, True]  # the last group is full
    told = events.lines(WorkFolder(folder).study("first").trial(1).root)
    assert sum("reused" in line and "stage=base" in line and "trial=0" in line for line in told) == 1


def test_the_sweep_has_groups_costs_and_a_ledger(work) -> None:
    folder, _ = work
    study = study_of("first")
    for number in (0, 1):
        trial, record = swept(study, folder, number)
        assert record.best and record.best["images"] == 512 and trial.sweep == record and 0 < record.floor < record.best["distance"]
        experts = record.experts
        assert record.cost["macs"] == pytest.approx(experts["macs_ratio"] * experts["base_macs"]) and experts["macs_ratio"] < 1
        assert [group["ratio"] for group in experts["groups"]] == pytest.approx([(1 + VALUES[number]["experts.budgets.k"]) / 2, 1.0])
        assert {stage["stage"]: bool(stage["reused"]) for stage in experts["ledger"]} == {"base": number == 1, "group-1": False,
                                                                                            "group-2": number == 1}
        speed = experts["speed"]
        assert all(of["images_per_second"] > 0 and of["peak_bytes"] is None for of in speed.values())
        assert speed["base"]["weight_bytes"] < speed["experts"]["weight_bytes"] < 2 * speed["base"]["weight_bytes"]
        assert {choice["how"] for choice in experts["choices"]} <= {"joint", "common"} and len(record.points) >= 2
        assert all(trial.samples(point).exists() for point in record.points)


def test_decided_reports_are_not_told_again(work, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, (first, _) = work
    monkeypatch.setattr(loop.Run, "_step", lambda *_: pytest.fail("something was trained again"))
    again = reports(actor(study_of("first"), folder, 0, decided=256))
    assert [(r["images"], r["interim_fd_probe"]) for r in again] == [(r["images"], r["interim_fd_probe"]) for r in first[2:]]
    assert all(r["recalled"] for r in again)


def test_a_trial_that_is_stopped_in_its_base_is_swept_as_its_base(tmp_path: Path) -> None:
    study = study_of("stopped")
    trial = actor(study, tmp_path)
    trial.step()
    trial.cleanup()
    folder = WorkFolder(tmp_path).study("stopped").trial(0)
    cut_back(folder.root, 128)
    _, record = swept(study, tmp_path)
    assert not record.error and {point["images"] for point in record.points} == {128} and not record.experts
    assert [row["images"] for row in metrics_log.read(folder.root)] == [128]
    another = reports(actor(study, tmp_path, 1))
    assert another[0]["recalled"] and not another[1]["recalled"]  # what the stopped trial had trained is not lost


def test_a_kill_while_a_stage_is_taken_over_leaves_a_note_of_it(work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the ledger would count the base twice."""
    folder, _ = work
    recipe, trial = base_recipe(stepwise()), tmp_path / "trials" / "0007"
    stage = Stage("base", recipe, trial / "base", stage_key(recipe, folder / "cache"))
    monkeypatch.setattr(stage_store, "keep_recipe", lambda *_: pytest.fail("killed"))
    with pytest.raises(pytest.fail.Exception, match="killed"):
        StageStore(str(folder / "store"), trial).take(stage)
    monkeypatch.undo()
    StageStore(str(folder / "store"), trial).take(stage)
    assert checkpoint.images(stage.folder) == reused(stage.folder)["images"] == 256


def test_what_a_kill_broke_off_is_taken_over_where_another_trial_has_come_farther(work, tmp_path: Path) -> None:
    folder, _ = work
    recipe, trial = base_recipe(stepwise()), tmp_path / "trials" / "0007"
    stage = Stage("base", recipe, trial / "base", stage_key(recipe, folder / "cache"))
    training = loop.train(recipe, stage.folder, folder / "cache")
    assert next(training).images == checkpoint.images(stage.folder) == 128
    training.close()
    StageStore(str(folder / "store"), trial).take(stage)
    assert checkpoint.images(stage.folder) == reused(stage.folder)["images"] == 256


@pytest.mark.parametrize("sweep", [{"times": [0.5, 1.0]}, {"guidance_weights": [1.5]}, {"tasks": 2}])
def test_sweeps_that_experts_cannot_have_are_refused(sweep: dict) -> None:
    with pytest.raises(ConfigError, match=f"sweep.{next(iter(sweep))}"):
        study_of("refused", sweep=sweep)
