"""Guidance by a separate network: a stage of its own, the same as a recipe trained alone, shared by trainings and found by all products."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import tiny_fields
from tests.trainables.stages.recipes import stepwise
from tests.trainables.stages.stores import OneFolder
from trainables.__main__ import main
from trainables.ema.snapshots import list_snapshots
from trainables.ema.sweep_settings import Sweep, make_sweep
from trainables.errors import ConfigError, UserError
from trainables.evaluation.sweep import SweepResult, sweep
from trainables.export import export
from trainables.exported import load_exported
from trainables.recipe import Recipe, load_recipe, make_recipe
from trainables.stage_key import stage_key
from trainables.stages.composition import base_recipe, guide_recipe, total_images
from trainables.stages.guided import guide_of, separate_guide, sweep_network
from trainables.stages.lengths import sweep_experts
from trainables.stages.run import train_stages
from trainables.training import loop
from trainables.training.loop import train

SMALL = {**tiny_fields()["network"], "mult": [1], "attention": []}
GUIDANCE = {"by": "network", "weight": 2.0, "weaker_sigma_rel": 0.1}


def guided(guide: dict[str, Any] | None = None, guidance: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    """A network and a smaller one that is trained half as long."""
    fields = tiny_fields(guide={"network": SMALL, "share": 0.5, "sigma_rels": [0.1], **(guide or {})}, **changes)
    fields["evaluation"] = {**fields["evaluation"], "guidance": {**GUIDANCE, **(guidance or {})}}
    return make_recipe(fields)


RECIPE = guided()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("guided")
    reports = list(train_stages(RECIPE, folder, cache))
    assert [(p.images, p.done) for p in reports] == [(128, False), (256, True)] and total_images(RECIPE) == 256
    return folder


def averages(folder: Path) -> dict[tuple[int, float], np.ndarray]:
    return {(s.images, s.sigma_rel): s.file.read().numpy() for s in list_snapshots(folder / "snapshots")}


def scores(result: SweepResult) -> dict[tuple[float, float | None, float], float]:
    return {(p.slice.guidance_weight, p.slice.guide_sigma_rel, p.sigma_rel): p.distance for p in result.points}


def test_the_guide_and_the_network_are_those_that_are_trained_alone(trained: Path, tmp_path: Path, cache: Path) -> None:
    ema = {"snapshot_every": 32, "sigma_rels": [0.1]}
    alone = make_recipe(tiny_fields(network=SMALL, duration={"images": 128, "batch_size": 32}, ema=ema))
    assert load_recipe(trained / "guide" / "recipe.json") == guide_recipe(RECIPE) == alone
    assert load_recipe(trained / "base" / "recipe.json") == base_recipe(RECIPE) == make_recipe(tiny_fields())
    assert load_recipe(trained / "recipe.json") == RECIPE
    list(train(alone, tmp_path, cache))
    found, expected = averages(trained / "guide"), averages(tmp_path)
    assert found.keys() == expected.keys() and len(found) == 4
    assert all((found[name] == expected[name]).all() for name in found)


def test_weight_1_is_the_identity_and_other_weights_are_the_formula(trained: Path, cache: Path) -> None:
    settings = Sweep(sigma_rels=(0.1,), guidance_weights=(1.0, 2.0), guide_sigma_rels=(0.1, 0.15))
    found = scores(sweep_network(RECIPE, trained, cache, settings))
    plain = sweep(make_recipe(tiny_fields()), trained / "base", cache, Sweep(sigma_rels=(0.1,))).points[0].distance
    assert found[1.0, 0.1, 0.1] == found[1.0, 0.15, 0.1] == plain
    assert len({plain, found[2.0, 0.1, 0.1], found[2.0, 0.15, 0.1]}) == 3  # each of weight and length counts
    own = scores(sweep_network(RECIPE, trained, cache, Sweep(sigma_rels=(0.1,))))
    assert own == {(2.0, 0.1, 0.1): found[2.0, 0.1, 0.1]}


def test_a_sweep_of_a_network_whose_guide_is_missing_does_not_go_on_without_it(trained: Path, tmp_path: Path, cache: Path) -> None:
    (tmp_path / "base").symlink_to(trained / "base")
    with pytest.raises(UserError, match="no stored averages of the guide's end"):
        sweep_network(RECIPE, tmp_path, cache, Sweep(sigma_rels=(0.1,)))


def test_trainings_share_the_guide_and_the_network(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, steps, real = OneFolder(tmp_path / "store"), [], loop.Run._step

    def step(self: loop.Run) -> None:
        steps.append(self.folder.name)
        real(self)

    monkeypatch.setattr(loop.Run, "_step", step)
    short, other_network = {"images": 64, "batch_size": 32}, {**tiny_fields()["network"], "channels": 8}
    list(train_stages(guided(duration=short), tmp_path / "a", cache, store=store))
    list(train_stages(guided(guidance={"weight": 3.0}, duration=short), tmp_path / "b", cache, store=store))
    assert store.kept == store.taken == ["guide", "base"] and (steps.count("guide"), steps.count("base")) == (1, 2)
    alike = [guided(), guided(guidance={"weight": 3.0}), guided(network=other_network)]
    assert len({stage_key(guide_recipe(recipe), cache) for recipe in alike}) == 1
    assert stage_key(guide_recipe(guided(guide={"network": other_network})), cache) != stage_key(guide_recipe(RECIPE), cache)


def test_the_exported_guide_is_the_one_that_the_sweep_used(trained: Path, tmp_path: Path, cache: Path) -> None:
    target = export(RECIPE, trained, tmp_path / "model", 0.1, cache=cache)
    exported, made = load_exported(target), separate_guide(RECIPE, RECIPE.data.load(), trained, 0.1)
    assert exported.guide is not None
    for a, b in zip(exported.guide.parameters(), made.parameters(), strict=True):
        assert torch.equal(a, b)
    unguided = export(guided(guidance={"weight": 1.0}), trained, tmp_path / "plain", 0.1, cache=cache)
    assert (load_exported(unguided).sample(4) != exported.sample(4)).any()
    assert not (unguided / "guide.safetensors").exists()


def test_the_command_line_trains_and_sweeps_it(trained: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(trained / "recipe.json"), "--output", str(trained), "--cache", str(cache), "--sweep", "0.1"]) == 0
    expected = sweep_network(RECIPE, trained, cache, Sweep(sigma_rels=(0.1,))).points[0].distance
    assert f"sigma_rel 0.1: fd_probe {expected:.4f}" in capsys.readouterr().out


@pytest.mark.slow
def test_experts_are_guided_too(tmp_path: Path, cache: Path) -> None:
    fields = stepwise().model_dump(mode="json")
    fields["guide"] = {"network": SMALL, "share": 0.5, "sigma_rels": [0.1]}
    fields["evaluation"]["guidance"] = GUIDANCE
    recipe = make_recipe(fields)
    reports = list(train_stages(recipe, tmp_path, cache))
    assert reports[-1].done and reports[-1].images == 512
    unguided = recipe.model_copy(update={"guide": None, "evaluation": stepwise().evaluation})
    settings = Sweep(sigma_rels=(0.1,))
    assert sweep_experts(recipe, tmp_path, cache, settings).best.score.distance != sweep_experts(
        unguided, tmp_path, cache, settings).best.score.distance
    assert guide_of(recipe, recipe.data.load(), tmp_path) is not None
    assert load_exported(export(recipe, tmp_path, tmp_path / "model", 0.1)).guide is not None


@pytest.mark.parametrize(("changes", "message"), [
    ({"guide": None}, "by: network asks for the network that guides"),
    ({"evaluation": {"guidance": {"weight": 2.0, "by": "weaker"}}}, "guide: would guide nothing"),
    ({"evaluation": {"guidance": {**GUIDANCE, "weaker_share": 0.5}}}, r"weaker_share is of by: weaker; .* guide\.share"),
    ({"guide": {"network": {**SMALL, "attention": [3]}}}, "guide: network"),
    ({"guide": {"share": 0}}, r"guide\.share"),
    ({"guide": {"sigma_rels": [0.05, 0.05004]}}, "0.0500"),
    ({"start": {"stage": "0" * 64, "images": 64, "sigma_rel": 0.1}}, "guide: start gives the weights of one network"),
    ({"evaluation": {"guidance": {**GUIDANCE, "sigma_low": 90}}}, "none of the sampler's noise levels"),
])
def test_a_guide_that_could_not_guide_is_refused_with_one_message(changes: dict, message: str) -> None:
    fields = {"guide": {"network": SMALL}, "evaluation": {"guidance": GUIDANCE}, "network": tiny_fields()["network"]}
    with pytest.raises(ConfigError, match=message) as refused:
        make_recipe({**fields, **changes})
    assert "\n" not in str(refused.value)


def test_lengths_of_a_guide_are_swept_only_where_a_second_network_guides() -> None:
    wanted = make_sweep({"guidance_weights": [2.0], "guide_sigma_rels": [0.1]})
    RECIPE.check_sweep(wanted)
    with pytest.raises(ConfigError, match=r"guide_sigma_rels: are EMA lengths of a second network"):
        make_recipe({"label_dropout": 0.1}).check_sweep(wanted)


def test_a_guide_of_weight_1_is_said_to_be_of_little_use(tmp_path: Path, cache: Path) -> None:
    assert any("of other weights alone" in text for text in guided(guidance={"weight": 1.0}).warnings)
    assert not any("of other weights alone" in text for text in RECIPE.warnings)
    with pytest.raises(ConfigError, match="guide: such a recipe is trained in stages"):
        next(train(RECIPE, tmp_path, cache))
