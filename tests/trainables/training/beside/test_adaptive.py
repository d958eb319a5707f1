"""What the adaptive policy is rewarded for: the step alone, computed in the training's own number format and sizes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import tiny_fields
from trainables.recipe import make_recipe
from trainables.training.batch import Losses
from trainables.training.beside import Step
from trainables.training.loop import Run, train
from trainables.training.model import Model
from trainables.training.ranks import Ranks

POLICY = {"kind": "adaptive", "levels": 16, "update_every": 2, "chosen": 2, "queue": 4}


def run_of(folder: Path, cache: Path, dropout: float = 0.0, **arithmetic: Any) -> Run:
    fields = tiny_fields(timesteps=POLICY, schedule="cosine", target="v", arithmetic=arithmetic)
    fields["network"]["dropout"] = dropout
    fields["evaluation"]["features"] = "pixels"
    run = Run(make_recipe(fields), folder, cache, Ranks())
    with torch.no_grad():
        run.model.denoiser.network.out_gain.fill_(1.0)
    return run


def step_of(run: Run, index: int = 2) -> Step:
    return Step(run.model.denoiser, run.inputs.batch(0), index, run.ranks, run.recipe.arithmetic)


def test_without_a_step_there_is_no_gain_whatever_the_dropout(tmp_path: Path, cache: Path) -> None:
    run = run_of(tmp_path, cache, dropout=0.5)
    passes = run.beside["adaptive"]
    state = torch.get_rng_state()
    first, second = (passes._terms(step_of(run)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(state, torch.get_rng_state()) and run.model.denoiser.training  # nor has looking changed the training


def test_passes_are_of_the_settings_size_and_format(tmp_path: Path, cache: Path) -> None:
    terms = {}
    for name, settings in {"plain": {}, "parts": {"micro_batch": 5}, "bf16": {"precision": "bf16"}}.items():
        run, sizes = run_of(tmp_path / name, cache, **settings), []
        run.model.denoiser.register_forward_pre_hook(lambda _, inputs, sizes=sizes: sizes.append(len(inputs[0])))
        terms[name] = run.beside["adaptive"]._terms(step_of(run))[1]
        assert max(sizes) == (5 if name == "parts" else 32)
    torch.testing.assert_close(terms["parts"], terms["plain"], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(terms["bf16"], terms["plain"], rtol=1e-6)
    torch.testing.assert_close(terms["bf16"], terms["plain"], rtol=0.1, atol=0.02)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_step_that_is_not_finite_teaches_nothing(precision: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(tmp_path, cache, precision=precision)
    run.train_until(64)
    before, gains = {n: v.clone() for n, v in run.inputs.draws.state().items() if n.startswith("policy/")}, len(run.inputs.draws._gains)
    with monkeypatch.context() as patched:
        patched.setattr(run.model, "backward", lambda _: Losses(*[torch.full((32,), math.nan)] * 3))
        run.train_until(96)
    after = run.inputs.draws.state()
    assert all(torch.equal(value, after[name]) for name, value in before.items()) and len(run.inputs.draws._gains) == gains
    run.train_until(224)
    assert np.isfinite(np.stack(run.inputs.draws._gains)).all() and len(run.inputs.draws._gains) == gains + 2


def test_a_bound_that_is_not_finite_teaches_nothing(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(tmp_path, cache)
    real, calls = type(run.beside["adaptive"])._bits, []

    def bits(self: Any, step: Step, *rest: Any) -> torch.Tensor:
        calls.append(step.index)
        found = real(self, step, *rest)
        return torch.full_like(found, math.inf) if step.index == 2 else found

    monkeypatch.setattr(type(run.beside["adaptive"]), "_bits", bits)
    run.train_until(256)
    assert 2 in calls and np.isfinite(np.stack(run.inputs.draws._gains)).all() and len(run.inputs.draws._gains) == 3


def test_a_network_that_overflows_does_not_break_the_policy(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step with a NaN in its gradients; it used to end in an IndexError of the draws of the next."""
    real = Model.backward

    def backward(self: Model, batch: Any) -> Losses:
        losses = real(self, batch)
        if batch.first == 32:
            self.denoiser.network.out_gain.grad.fill_(math.nan)
        return losses

    monkeypatch.setattr(Model, "backward", backward)
    fields = tiny_fields(timesteps=POLICY, schedule="cosine", target="v")
    fields["evaluation"]["features"] = "pixels"
    reports = list(train(make_recipe(fields), tmp_path, cache))
    assert reports[-1].metrics["nonfinite_steps"] == 1 and all(math.isfinite(r.metrics["loss"]) for r in reports)
