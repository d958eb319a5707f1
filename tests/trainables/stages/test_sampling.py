"""Sampling with experts: cost, EMA lengths, and the exported folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import tiny_fields
from tests.trainables.stages.recipes import stepwise
from trainables.ema.sweep_settings import Sweep
from trainables.errors import Damaged, UserError
from trainables.evaluation.cost import network_cost
from trainables.evaluation.scoring import evaluator_of
from trainables.experts.groups import group_of
from trainables.export import export
from trainables.exported import load_exported
from trainables.log_snr import from_edm_sigma
from trainables.recipe import make_recipe
from trainables.sampling.guidance import Guidance
from trainables.stages.composition import base_recipe
from trainables.stages.joint import joint_denoiser, macs_per_image, parameters, plan_in
from trainables.stages.lengths import sweep_experts
from trainables.training.loop import train

RECIPE = stepwise()


def test_macs_are_those_of_the_evaluations_that_the_sampler_makes(whole: Path) -> None:
    plan = plan_in(whole)
    costs = [network_cost(e.recipe) for e in plan.experts]
    sampler, calls = RECIPE.evaluation.sampler, [0, 0]
    for sigma in sampler.levels:
        calls[group_of(plan.edges, float(from_edm_sigma(float(sigma))))] += 1
    found = macs_per_image(plan, sampler, Guidance())
    assert found["experts"] == sum(n * c["macs"] for n, c in zip(calls, costs, strict=True)) and sum(calls) == sampler.evaluations
    assert found["base"] == sampler.evaluations * network_cost(base_recipe(RECIPE))["macs"] and 0.8 < found["ratio"] < 1
    assert macs_per_image(plan, sampler, Guidance(weight=2))["experts"] == 2 * found["experts"]
    weaker = macs_per_image(plan, sampler, Guidance(weight=2, by="weaker"))
    assert weaker["experts"] == found["experts"] + found["base"]
    separate = macs_per_image(plan, sampler, Guidance(weight=2, by="network"), guide_macs=1000.0)
    assert separate["experts"] == found["experts"] + 1000 * sampler.evaluations and separate["base"] == found["base"] + separate[
        "experts"] - found["experts"]
    assert parameters(plan) == sum(c["parameters"] for c in costs)


def test_each_group_has_its_length_by_its_loss_and_the_better_choice_is_kept(whole: Path, cache: Path) -> None:
    found = sweep_experts(RECIPE, whole, cache, Sweep(sigma_rels=(0.05, 0.1)))
    assert np.shape(found.losses) == (2, 2) and len(found.base_losses) == 2
    assert found.choices[0].sigma_rels == tuple((0.05, 0.1)[int(np.argmin(row))] for row in found.losses)
    assert {c.sigma_rels for c in found.choices} >= {(0.05, 0.05), (0.1, 0.1)}
    assert found.best.score.distance == min(c.score.distance for c in found.choices)
    stored = next(c for c in found.choices if c.sigma_rels == (0.1, 0.1))
    router = joint_denoiser(RECIPE, whole, plan_in(whole), [0.1, 0.1], 0.1, resident=1)
    assert evaluator_of(RECIPE, cache).score(router, RECIPE.evaluation.samples).distance == pytest.approx(stored.score.distance, rel=1e-3)


def test_exported_experts_are_sampled_by_trainables_alone(whole: Path, tmp_path: Path) -> None:
    target = export(RECIPE, whole, tmp_path / "model", (0.1, 0.1))
    assert {p.name for p in target.iterdir()} == {"README.md", "model.json", "group-1.safetensors", "group-2.safetensors"}
    code = (
        "import sys, numpy\nfrom trainables.exported import load_exported\n"
        "numpy.save('images.npy', load_exported('.').sample(4, seed=3))\n"
        "sys.exit(any(m in sys.modules for m in ('ray', 'optuna', 'mlflow', 'orchestrator', 'trainables.training')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=target).returncode == 0
    images = np.load(target / "images.npy")
    assert images.shape == (4, 1, 8, 8) and images.dtype == np.uint8 and images.max() <= 16
    exported = load_exported(target, resident=1)
    assert (exported.sample(6, seed=3)[:4] == images).all() and len(exported.denoiser.loaded) == 1
    router = joint_denoiser(RECIPE, whole, plan_in(whole), [0.1, 0.1], 0.1)
    x, labels = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.eye(10)[:4]
    for sigma in (40.0, 0.5, 0.01):
        with torch.no_grad():
            torch.testing.assert_close(*(d.denoise(x, torch.tensor(sigma), labels) for d in (exported.denoiser, router)), rtol=0, atol=0)
    with pytest.raises(UserError, match="3 EMA lengths were given for 2 groups"):
        export(RECIPE, whole, tmp_path / "other", (0.1, 0.1, 0.1))
    with pytest.raises(UserError, match="one class number from 0 to 9"):
        exported.sample(2, labels=np.array([3, 10]))
    (target / "group-2.safetensors").write_bytes(b"broken")
    with pytest.raises(Damaged, match="export the model again"):
        load_exported(target).sample(1)


def test_plain_trials_are_exported_too(tmp_path: Path, cache: Path) -> None:
    fields = tiny_fields()
    fields["evaluation"] = {**fields["evaluation"], "every": 256, "guidance": {"weight": 1.5, "by": "weaker", "weaker_share": 0.5}}
    recipe = make_recipe(fields)
    list(train(recipe, tmp_path / "run", cache))
    target = export(recipe, tmp_path / "run", tmp_path / "model", 0.07)
    assert {p.name for p in target.iterdir()} == {"README.md", "model.json", "network.safetensors", "guide.safetensors"}
    exported = load_exported(target)
    assert exported.guide is not None and exported.sample(3).shape == (3, 1, 8, 8)
    with pytest.raises(UserError, match="is not empty"):
        export(recipe, tmp_path / "run", tmp_path / "run", 0.07)
    with pytest.raises(UserError, match="no exported model"):
        load_exported(tmp_path)
