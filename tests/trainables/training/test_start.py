"""A run that begins from an average of another one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.conftest import tiny_fields
from trainables.ema.averages import Averages
from trainables.ema.reconstruct import Target, plan
from trainables.ema.snapshots import list_snapshots, load_vector
from trainables.ema.sweep_settings import Sweep
from trainables.errors import ConfigError, Damaged
from trainables.evaluation.scoring import evaluator_of
from trainables.evaluation.sweep import sweep
from trainables.networks.modules.build import build_denoiser, starting_denoiser
from trainables.networks.modules.start_file import read_start, start_path, write_start
from trainables.recipe import make_recipe
from trainables.stage_key import stage_key
from trainables.training.loop import Run, train
from trainables.training.ranks import Ranks

START = {"stage": "ab" * 32, "images": 256, "sigma_rel": 0.07}
BASE = make_recipe(tiny_fields())


def begun(folder: Path, seed: int = 3, **fields):
    """A recipe with a start, and its folder with the weights of a network of another seed in it."""
    recipe = make_recipe(tiny_fields(seed=seed, start=START, **fields))
    other = build_denoiser(BASE, BASE.data.load())
    write_start(folder, recipe.start, other.state_dict())
    return recipe, other


def test_training_begins_from_the_start_with_a_clock_of_its_own(tmp_path: Path, cache: Path) -> None:
    recipe, other = begun(tmp_path, levels={"low": -1, "high": 1})
    run = Run(recipe, tmp_path, cache, Ranks())
    for (name, mine), theirs in zip(run.model.denoiser.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs), name
    for tensors in run.model.ema.averages.values():
        assert all(torch.equal(a, b) for a, b in zip(tensors, other.parameters(), strict=True))
    assert run.counters.images == 0
    reports = list(train(recipe, tmp_path, cache))
    assert reports[-1].done
    random = tmp_path / "random"
    list(train(recipe.model_copy(update={"start": None}), random, cache))
    mine, theirs = (list_snapshots(f / "snapshots")[-1].file.read() for f in (tmp_path, random))
    assert not torch.equal(mine, theirs)


def test_a_run_with_a_start_goes_on_after_a_kill_and_is_swept_with_the_buffers_of_the_start(tmp_path: Path, cache: Path) -> None:
    recipe, other = begun(tmp_path / "a")
    list(train(recipe, tmp_path / "a", cache))
    begun(tmp_path / "b")
    next(again := train(recipe, tmp_path / "b", cache))
    again.close()
    list(train(recipe, tmp_path / "b", cache))
    whole, resumed = (list_snapshots(tmp_path / f / "snapshots")[-1].file.read() for f in "ab")
    assert torch.equal(whole, resumed)
    buffers = dict(starting_denoiser(recipe, recipe.data.load(), tmp_path / "a").named_buffers())
    assert buffers and all(torch.equal(b, dict(other.named_buffers())[name]) for name, b in buffers.items())
    assert any(not torch.equal(b, buffers[name]) for name, b in build_denoiser(recipe, recipe.data.load()).named_buffers())
    swept = sweep(recipe, tmp_path / "a", cache, Sweep(sigma_rels=(0.05,))).points[0]
    snapshots = list_snapshots(tmp_path / "a" / "snapshots")
    made = plan(snapshots, [Target(0.05, 256)])
    load_vector(Averages(made, made.vectors()).at(0.05, 256)[0], other)
    assert evaluator_of(recipe, cache).score(other.eval(), 64).distance == swept.distance


def test_the_stage_key_covers_the_start_and_the_levels(cache: Path) -> None:
    keys = [stage_key(make_recipe(tiny_fields(**fields)), cache) for fields in (
        {}, {"start": START}, {"start": {**START, "sigma_rel": 0.08}}, {"start": {**START, "images": 128}},
        {"start": {**START, "stage": "cd" * 32}}, {"start": {**START, "kept": "ef" * 32}}, {"levels": {"low": 0}}, {"levels": {"low": 0.5}},
    )]
    assert len(set(keys)) == len(keys)


def test_missing_foreign_and_damaged_starts_are_refused(tmp_path: Path, cache: Path) -> None:
    recipe = make_recipe(tiny_fields(start=START))
    with pytest.raises(ConfigError, match="not in its folder"):
        next(train(recipe, tmp_path, cache))
    begun(tmp_path)
    foreign = make_recipe(tiny_fields(start={**START, "sigma_rel": 0.1}))
    with pytest.raises(ConfigError, match="another start"):
        next(train(foreign, tmp_path, cache))
    wider = tiny_fields(start=START)
    wider["network"] = {**wider["network"], "channels": 8}
    with pytest.raises(ConfigError, match="another network"):
        next(train(make_recipe(wider), tmp_path, cache))
    content = bytearray(start_path(tmp_path).read_bytes())
    content[-5] ^= 1
    start_path(tmp_path).write_bytes(content)
    with pytest.raises(Damaged, match="checksum"):
        read_start(tmp_path, recipe.start)
