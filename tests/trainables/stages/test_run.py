"""A whole step-adaptive training on real digits: resumable at any place with the same numbers, and each stage a plain run."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainables.stages.recipes import stepwise
from tests.trainables.stages.stores import OneFolder
from trainables.__main__ import main
from trainables.ema.snapshots import list_snapshots
from trainables.errors import ConfigError
from trainables.recipe import Recipe, load_recipe
from trainables.stage_key import stage_key
from trainables.stages import run
from trainables.stages.composition import base_recipe, expert_images, total_images
from trainables.stages.run import train_stages
from trainables.stages.stage import read_plan
from trainables.stages.weights import averaged_denoiser
from trainables.training import loop, metrics_log
from trainables.training.loop import train

RECIPE = stepwise()  # of the fixture `whole`
STAGES = ["base", "group-1", "group-2"]


def weights(folder: Path) -> dict[str, np.ndarray]:
    return {stage: np.concatenate([s.file.read().numpy() for s in list_snapshots(folder / stage / "snapshots")]) for stage in STAGES}


def test_images_are_counted_over_all_stages_and_each_report_has_a_score(whole: Path) -> None:
    rows = metrics_log.read(whole)
    assert [row["images"] for row in rows] == [128, 256, 384, 512] and all("interim_fd_probe" in row for row in rows)
    assert [row.get("experts_finished") for row in rows] == [None, None, 1, 2] and all("held_out_loss" in row for row in rows)
    assert total_images(RECIPE) == 512 and expert_images(RECIPE) == 128


def test_stages_are_plain_recipes_on_their_levels_from_the_base(whole: Path, cache: Path) -> None:
    plan = read_plan(whole)
    assert plan and plan.base_key == stage_key(base_recipe(RECIPE), cache) and len(plan.edges) == 1
    low, high = (e.recipe for e in plan.experts)
    assert low.levels.high == high.levels.low == plan.edges[0] and low.levels.low is None and high.levels.high is None
    assert all(load_recipe(whole / e.name / "recipe.json") == e.recipe and e.recipe.experts is None for e in plan.experts)
    assert all(e.recipe.start.stage == plan.base_key and e.recipe.start.images == 256 for e in plan.experts)
    assert [e.ratio for e in plan.experts] == pytest.approx([0.8, 1.0])
    assert low.network.widths and low.start.kept and not high.network.widths and high.start.kept is None
    for expert in plan.experts:
        assert expert.macs / plan.base_macs == pytest.approx(expert.ratio, rel=0.02)
        assert len(list_snapshots(whole / expert.name / "snapshots")) == len(list_snapshots(whole / "base" / "snapshots"))
    assert load_recipe(whole / "recipe.json") == RECIPE


class Killed(Exception):
    """As a kill would end the process: nothing after it runs."""


STEPS = [5, 9, 15]  # in the base (8 steps, with a checkpoint after 4), and in each group (4 steps)
PLACES = ["before preparing", "after preparing", "before the last score"]
SLOW = [pytest.param(place, marks=pytest.mark.slow) for place in (*STEPS[1:], *PLACES[:2])]


@pytest.mark.parametrize("place", [STEPS[0], PLACES[2], *SLOW])
def test_killed_anywhere_it_goes_on_with_the_same_numbers(place: int | str, whole: Path, tmp_path: Path, cache: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    if isinstance(place, int):
        steps, real = itertools.count(), loop.Run._step

        def step(self: loop.Run) -> None:
            if next(steps) == place:
                raise Killed
            real(self)

        monkeypatch.setattr(loop.Run, "_step", step)
    elif place == PLACES[0]:
        monkeypatch.setattr(run, "prepare_experts", _raise)
    elif place == PLACES[1]:
        monkeypatch.setattr(run, "read_plan", _raise)
    else:
        reported = run.joint_report

        def report(*arguments, **named):
            if arguments[4] == 2:
                raise Killed
            return reported(*arguments, **named)

        monkeypatch.setattr(run, "joint_report", report)
    with pytest.raises(Killed):
        list(train_stages(RECIPE, folder, cache))
    monkeypatch.undo()
    reports = list(train_stages(RECIPE, folder, cache))
    assert reports[-1].done
    for stage, expected in weights(whole).items():
        assert (weights(folder)[stage] == expected).all(), stage
    scores = [[row["interim_fd_probe"] for row in metrics_log.read(f)] for f in (folder, whole)]
    assert scores[0] == scores[1]


def _raise(*_: object, **__: object) -> None:
    raise Killed


def test_finished_it_tells_its_reports_again_and_trains_nothing(whole: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = metrics_log.read(whole)
    monkeypatch.setattr(loop.Run, "_step", _raise)
    again = list(train_stages(RECIPE, whole, cache))
    assert [p.images for p in again] == [128, 256, 384, 512] and again[-1].done and all(p.recalled for p in again)
    assert metrics_log.read(whole) == before


def test_trainings_share_the_base_and_the_groups_that_are_alike(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, steps, real = OneFolder(tmp_path / "store"), [], loop.Run._step

    def step(self: loop.Run) -> None:
        steps.append(self.folder.name)
        real(self)

    monkeypatch.setattr(loop.Run, "_step", step)
    one = stepwise({"budgets": {"kind": "ratios", "ratio_1": 0.8}})
    other = stepwise({"budgets": {"kind": "ratios", "ratio_1": 0.7}})
    list(train_stages(one, tmp_path / "a", cache, store=store))
    first = list(metrics_log.read(tmp_path / "a"))
    list(train_stages(other, tmp_path / "b", cache, store=store))
    assert store.kept == ["base", "group-1", "group-2", "group-1"] and store.taken == ["base", "group-2"]
    assert steps.count("base") == 8 and steps.count("group-2") == 4 and steps.count("group-1") == 8
    assert [r["interim_fd_probe"] for r in metrics_log.read(tmp_path / "b")][:2] == [r["interim_fd_probe"] for r in first][:2]


@pytest.mark.parametrize("experts", [
    {"groups": 1, "budgets": "full"},
    pytest.param({"groups": 1, "budgets": {"kind": "ratios", "ratio_1": 0.8}}, marks=pytest.mark.slow),
    {"groups": 3, "split": "equal_loss", "budgets": {"kind": "linear", "k": 0.7, "order": "measured"},
     "pruning": {"multiple": 1, "images": 32, "allocation": "greedy"}},
], ids=["fine-tuning alone", "one pruned network", "measured"])
def test_baselines_and_measured_groups(experts: dict, tmp_path: Path, cache: Path) -> None:
    recipe: Recipe = stepwise(experts)
    reports = list(train_stages(recipe, tmp_path, cache))
    assert reports[-1].done and reports[-1].images == total_images(recipe)
    plan = read_plan(tmp_path)
    assert plan and len(plan.experts) == recipe.experts.groups
    assert all((e.recipe.levels is None) == (len(plan.experts) == 1) for e in plan.experts)


def test_one_group_of_full_budget_that_learns_nothing_is_the_base(whole: Path, tmp_path: Path, cache: Path) -> None:
    """Fine-tuning is one step at least; with a learning rate of almost 0 it changes no weight."""
    recipe = stepwise({"groups": 1, "budgets": "full", "fine_tune": {"share": 1e-9, "lr": 1e-20}})
    shutil.copytree(whole / "base", tmp_path / "base")
    reports = list(train_stages(recipe, tmp_path, cache))
    assert reports[-1].done and reports[-1].images == 256 + 32
    (expert,) = read_plan(tmp_path).experts
    assert expert.ratio == 1.0 and expert.recipe.levels is None and not expert.recipe.network.widths
    data = recipe.data.load()
    base = averaged_denoiser(base_recipe(recipe), data, tmp_path / "base", 256, 0.1)
    tuned = averaged_denoiser(expert.recipe, data, tmp_path / "group-1", 32, 0.1)
    x, labels = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.eye(10)[:8]
    for sigma in (10.0, 0.5, 0.01):
        with torch.no_grad():
            torch.testing.assert_close(*(d.denoise(x, torch.tensor(sigma), labels) for d in (tuned, base)), rtol=1e-4, atol=1e-5)


def test_the_loop_itself_refuses_a_recipe_of_stages(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(ConfigError, match="trained in stages"):
        next(train(RECIPE, tmp_path, cache))


def test_the_command_line_trains_and_sweeps_a_whole_recipe(whole: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--output", str(whole), "--cache", str(cache), "--sweep", "0.05", "0.1"]
    assert main([str(whole / "recipe.json"), *out]) == 0
    said = capsys.readouterr().out
    assert "512 images: experts_finished 2" in said and "(joint): fd_probe" in said and "best: " in said
