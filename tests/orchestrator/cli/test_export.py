"""`snrlab export`: any trial, by its best EMA length or a given one; the exported folder's own code runs."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.cli.export import best_lengths, export_trial
from orchestrator.execution.expert_sweep import sweep_of_experts
from orchestrator.records.definition import define
from orchestrator.records.folders import StudyFolder, SweepRecord, Training, TrialRecord, WorkFolder
from reports.step_groups import read_step_groups
from search_spaces.study import make_study
from tests.conftest import tiny_fields
from tests.orchestrator.records.written import written_study
from tests.trainables.stages.recipes import stepwise
from trainables.ema.sweep_settings import Sweep
from trainables.errors import UserError
from trainables.exported import load_exported
from trainables.files import document
from trainables.recipe import Recipe
from trainables.stages.run import train_stages
from trainables.training.loop import train


def trained(work: Path, cache: Path, recipe: Recipe, how: Training = "completed", reports: int | None = None) -> StudyFolder:
    """A study whose one trial has been trained, up to so many reports, and not been swept."""
    folder = WorkFolder(work).study("s")
    define(make_study({"name": "s", "base": recipe.model_dump(mode="json"), "search": {"trials": 1}}), folder)
    trial = folder.trial(0)
    list(islice((train_stages if recipe.experts else train)(recipe, trial.root, cache), reports))
    trial.write_record(TrialRecord(0, {}, recipe.key, recipe.variant_key, how))
    return folder


def point(sigma_rel: float, distance: float, weight: float = 1.0) -> dict:
    return {"sigma_rel": sigma_rel, "images": 256, "guidance_weight": weight, "guide_sigma_rel": None, "distance": distance}


def run_readme(folder: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """The grid of images that the code in an exported folder's README makes."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    with monkeypatch.context() as inside:
        inside.chdir(folder)
        exec(code, {})
    return np.load(folder / "grid.npy")


def snrlab(*arguments: str) -> Result:
    """In this process; `main` makes one message and exit code 2 of a UserError."""
    return CliRunner().invoke(app, list(arguments))


def test_the_best_length_is_exported_with_its_guidance_and_the_readme_runs(tmp_path: Path, cache: Path,
                                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    folder = trained(tmp_path / "runs", cache, Recipe.model_validate(tiny_fields(label_dropout=0.1)))
    arguments = ["export", "s", "--trial", "0", "--workdir", str(tmp_path / "runs"), "--output", str(tmp_path / "out")]
    with pytest.raises(UserError, match="no EMA sweep yet"):
        export_trial(folder, 0, "best", tmp_path / "out", cache)
    folder.trial(0).write_sweep(SweepRecord("fd_probe", [point(0.05, 3.0), point(0.07, 2.0, 1.5), point(0.12, 2.5)]))
    done = snrlab(*arguments)
    assert done.exit_code == 0 and "sigma_rel 0.07" in done.output
    described = document.read(tmp_path / "out" / "model.json", "")
    assert described["sigma_rels"] == [0.07] and described["guidance"]["weight"] == 1.5
    assert run_readme(tmp_path / "out", monkeypatch).shape == (32, 32, 1)
    again = snrlab(*arguments)
    assert isinstance(again.exception, UserError) and "exists already; name another folder with --output" in str(again.exception)
    with pytest.raises(UserError, match=r"no such trial. Trials: 0\."):
        export_trial(folder, 4, "best", tmp_path / "other", cache)
    assert not (tmp_path / "other").exists()
    export_trial(folder, 0, "0.1", tmp_path / "given", cache)
    assert document.read(tmp_path / "given" / "model.json", "")["sigma_rels"] == [0.1]
    with pytest.raises(UserError, match=r"model.json is a file, and a folder is needed\); name another folder with --output"):
        export_trial(folder, 0, "0.1", tmp_path / "given" / "model.json" / "x", cache)


CHOICES = [{"how": "joint", "sigma_rels": [0.05, 0.1], "distance": 4.0}, {"how": "common", "sigma_rels": [0.05, 0.05], "distance": 6.0},
           {"how": "common", "sigma_rels": [0.1, 0.1], "distance": 3.0}]


@pytest.mark.parametrize(("best", "lengths"), [("joint", (0.05, 0.1)), ("common", (0.1, 0.1))])
def test_experts_have_the_lengths_of_the_better_choice(best: str, lengths: tuple[float, ...]) -> None:
    assert best_lengths(SweepRecord("fd_probe", [point(0.05, 3.0)], experts={"best": best, "choices": CHOICES})) == lengths


def test_a_trial_with_experts_is_exported_with_a_length_per_group(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = trained(tmp_path, cache, stepwise())
    target, _ = export_trial(folder, 0, "0.05,0.1", tmp_path / "out", cache)
    assert run_readme(target, monkeypatch).dtype == np.uint8 and load_exported(target).sample(1).shape == (1, 1, 8, 8)
    with pytest.raises(UserError, match="3 EMA lengths were given for 2 groups"):
        export_trial(folder, 0, "0.05,0.1,0.1", tmp_path / "other", cache)


def test_what_the_sweep_of_experts_finds_is_exported_and_reported(tmp_path: Path, cache: Path) -> None:
    recipe = stepwise()
    folder = trained(tmp_path, cache, recipe)
    trial = folder.trial(0)
    record, _ = sweep_of_experts(recipe, trial.root, cache, Sweep(sigma_rels=(0.05, 0.1)), torch.device("cpu"))
    trial.write_sweep(record)
    target, lengths = export_trial(folder, 0, "best", tmp_path / "out", cache)
    assert document.read(target / "model.json", "")["sigma_rels"] == list(lengths) and len(lengths) == 2
    shown = read_step_groups(trial.sweep.experts)
    assert shown and [group.sigma_rel for group in shown.groups] == list(lengths) and shown.spent[0] == 512 and list(shown.blocks)
    assert "one length for all" in shown.lengths_text


def test_a_trial_that_was_stopped_before_its_experts_is_exported_as_its_base(tmp_path: Path, cache: Path) -> None:
    recipe = stepwise()
    folder = trained(tmp_path, cache, recipe, "stopped", reports=2)
    target, lengths = export_trial(folder, 0, "0.1", tmp_path / "out", cache)
    assert lengths == (0.1,) and [row["file"] for row in document.read(target / "model.json", "")["networks"]] == ["network.safetensors"]
    record = folder.trial(0).record
    record.training = "running"
    folder.trial(0).write_record(record)
    with pytest.raises(UserError, match="has not been trained to its end"):
        export_trial(folder, 0, "0.1", tmp_path / "other", cache)


@pytest.mark.parametrize(("given", "words"), [("0.5", "lie between 0 and"), ("bets", "is not understood")])
def test_what_is_no_length_is_explained(given: str, words: str, tmp_path: Path, cache: Path) -> None:
    folder, definition = written_study(tmp_path, 1)
    document.write(folder.trial(0).root / "recipe.json", definition.study.base_recipe.model_dump(mode="json"))
    with pytest.raises(UserError, match=words):
        export_trial(folder, 0, given, tmp_path / "out", cache)
