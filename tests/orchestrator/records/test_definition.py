"""Which changes of a study's file may go on with its results: those that mean the same, and those that cannot mix results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.records.definition import define, recall
from orchestrator.records.folders import StudyFolder, TrialRecord, WorkFolder
from search_spaces.study import Study, make_study
from tests.conftest import tiny_fields
from trainables.errors import UserError
from trainables.files import document

WRITTEN: dict[str, Any] = {
    "name": "s", "base": tiny_fields(weighting="min_snr"), "space": {"weighting.gamma": "auto", "schedule.kind": ["cosine", "laplace"],
    "schedule.b": {"low": 0.3, "high": 2, "when": {"schedule.kind": "laplace"}}}, "search": {"trials": 4, "hours": 2},
}


def changed(**parts: Any) -> Study:
    """The study with parts of its sections replaced."""
    return make_study({**WRITTEN, **{k: {**WRITTEN.get(k, {}), **v} if isinstance(v, dict) else v for k, v in parts.items()}})


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    """Of a study of which two trials have been run."""
    found = WorkFolder(tmp_path).study("s")
    define(changed(), found)
    for number in range(2):
        found.trial(number).write_record(TrialRecord(number, {}, "", "", "completed"))
    return found


@pytest.mark.parametrize("parts", [
    {"base": {"seed": 0, "weighting": {"kind": "min_snr", "gamma": 5.0}, "schedule": "edm_lognormal"}},
    {"space": {"weighting.gamma": {"kind": "float", "low": 1, "high": 20, "log": True, "when": {}},
               "schedule.kind": {"choices": ["cosine", "laplace"]},
               "schedule.b": {"low": 0.3, "high": 2.0, "when": {"schedule.kind": ["laplace"]}}}},
    {"search": {"sampler": "tpe", "order": "reproducible", "objectives": [{"metric": "fd_probe"}], "early_stopping": "none"}},
    {"compute": {"workers": 1, "reuse": True}}, {"sweep": {"solver": "robust", "times": [1]}},
])
def test_a_default_that_is_spelled_out_is_no_change(folder: StudyFolder, parts: dict[str, Any]) -> None:
    assert define(changed(**parts), folder).study.meaning == changed().meaning


@pytest.mark.parametrize("parts", [
    {"description": "new"}, {"search": {"trials": 9}}, {"search": {"trials": 2}}, {"search": {"hours": 5}}, {"search": {"hours": 0.1}},
    {"search": {"gpu_hours": 1}}, {"compute": {"hang_minutes": 3, "sweep_minutes": 1, "max_failures": 0, "reuse": False}},
])
def test_what_cannot_mix_results_is_taken_over_and_told_again(folder: StudyFolder, parts: dict[str, Any]) -> None:
    define(changed(**parts), folder)
    assert recall(folder).study.meaning == changed(**parts).meaning


@pytest.mark.parametrize(("parts", "words"), [
    ({"base": {"seed": 1}}, "base.seed: 0 -> 1"), ({"search": {"trials": 1}}, "2 have begun already"),
    ({"search": {"seed": 3}}, "search.seed"),
    ({"space": {"weighting.gamma": [1.0, 2.0]}}, "space.weighting.gamma"), ({"sweep": {"sigma_rels": [0.1]}}, "sweep.sigma_rels"),
    ({"search": {"order": "asynchronous"}}, "search.order"), ({"compute": {"workers": 2}}, "compute.workers"),
    ({"compute": {"gpus_per_worker": 0.5}}, "another device"), ({"compute": {"concurrent_trials": 2}}, "search.order is asynchronous"),
])
def test_what_would_mix_results_is_refused(folder: StudyFolder, parts: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        define(changed(**parts), folder)
    assert words in str(caught.value) and "another name" in str(caught.value)


def test_in_an_asynchronous_order_more_trials_may_be_trained_at_a_time(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path).study("s")
    define(changed(compute={"concurrent_trials": 2}), folder)
    assert define(changed(compute={"concurrent_trials": 8}), folder).study.compute.concurrent_trials == 8
    with pytest.raises(UserError, match=r"search\.order"):
        define(changed(compute={"concurrent_trials": 1}), folder)
    assert define(changed(compute={"concurrent_trials": 1}, search={"order": "asynchronous"}), folder)


def test_relative_files_are_those_of_the_first_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    folder = WorkFolder(tmp_path / "runs").study("s")
    fields = {"data": {"kind": "parquet", "path": "images"}}
    space = {"data.path": ["images", "others"], "seed": {"low": 0, "high": 3, "step": 1, "when": {"data.path": "others"}}}
    search = {"points": [{"data.path": "others", "seed": 2}]}
    monkeypatch.chdir(tmp_path / "one")
    study = define(changed(base=fields, space=space, search=search), folder).study
    others = str(tmp_path / "one" / "others")
    assert study.base["data"]["path"] == str(tmp_path / "one" / "images")
    assert study.space["data.path"].contains(others) and study.space["seed"].when == {"data.path": others}
    assert study.search.points[0]["data.path"] == others
    monkeypatch.chdir(tmp_path / "two")
    assert str(recall(folder).study.recipe({"data.path": others}).data.path) == others  # type: ignore[union-attr]
    with pytest.raises(UserError, match=r"base\.data\.path: '.*/one/images' -> '.*/two/images'"):
        define(changed(base=fields, space=space, search=search), folder)


def test_a_definition_of_another_version_is_one_message(folder: StudyFolder) -> None:
    written = json.loads(folder.definition.read_text())
    written["study"]["search"]["sampler"] = {"kind": "ouija"}
    document.write(folder.definition, {k: v for k, v in written.items() if k in ("study", "id")})
    with pytest.raises(UserError, match=r"study\.json.*ouija"):
        recall(folder)


def designed(variants: list[str], **design: Any) -> Study:
    changes = {"z": {}, "a": {"weighting": "snr"}, "m": {"optimiser.lr": 0.02}, "n": {"optimiser.lr": 0.03}}
    return make_study({"name": "s", "base": tiny_fields(), "design": {"variants": {v: changes[v] for v in variants}, "seeds": 1, **design}})


def test_seeds_are_added_to_a_design_in_the_order_in_which_its_trials_are_numbered(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path).study("s")
    first = define(designed(["z", "a", "m"]), folder).study.design_trials
    more = define(designed(["m", "z", "a"], seeds=3, baseline="a", smallest_effect=0.1), folder).study
    assert more.design_trials[:3] == first and [t.variant for t in more.design_trials] == ["z", "a", "m"] * 3
    assert recall(folder).study.design_trials == more.design_trials and more.design and more.design.baseline_name == "a"


@pytest.mark.parametrize(("study", "words"), [
    (designed(["z", "a", "m"]), "seeds can be added"), (designed(["z", "a", "m", "n"], seeds=2), "design.variants.n"),
    (designed(["z", "a"], seeds=2), "design.variants.m"), (designed(["z", "a", "m"], seeds=[0, 1]), "design.seeds"),
])
def test_a_design_of_other_variants_is_another_study(tmp_path: Path, study: Study, words: str) -> None:
    folder = WorkFolder(tmp_path).study("s")
    define(designed(["z", "a", "m"], seeds=2), folder)
    with pytest.raises(UserError, match=words):
        define(study, folder)
