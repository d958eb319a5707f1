"""Steps with something non-finite in them: skipped whole, counted, and in fp16 followed by a smaller loss scale."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import tiny_fields
from trainables.optimisers.arithmetic import Arithmetic
from trainables.recipe import make_recipe
from trainables.training import checkpoint
from trainables.training.batch import Losses
from trainables.training.loop import Run, train
from trainables.training.ranks import Ranks
from trainables.training.steps import Steps

CPU = torch.device("cpu")
OPTIMISERS = {
    "fused Adam": lambda p: torch.optim.Adam(p, lr=0.1, fused=True), "Adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "SGD with momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
}


def parameters() -> list[Tensor]:
    return [torch.nn.Parameter(torch.arange(3.0)), torch.nn.Parameter(torch.ones(2, 2))]


def give_gradients(weights: list[Tensor], value: float, bad: float = 0.0) -> None:
    for weight in weights:
        weight.grad = torch.full_like(weight, value)
    weights[0].grad[1] = bad or value


def everything(optimiser: torch.optim.Optimizer, weights: list[Tensor]) -> list[Tensor]:
    return [w.detach().clone() for w in weights] + [
        value.clone() for w in weights for value in optimiser.state[w].values() if isinstance(value, Tensor)]


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize(("bad", "loss"), [(math.nan, 1.0), (math.inf, 1.0), (0.0, math.nan), (0.0, math.inf)])
def test_a_skipped_step_moves_nothing(name: str, bad: float, loss: float) -> None:
    steps, weights = Steps(Arithmetic(), CPU), parameters()
    optimiser = OPTIMISERS[name](weights)
    give_gradients(weights, 1.0)
    steps.take(optimiser, torch.tensor(1.0))
    before = everything(optimiser, weights)
    give_gradients(weights, 1.0, bad)
    steps.take(optimiser, torch.tensor(loss))
    assert all((a == b).all() for a, b in zip(before, everything(optimiser, weights), strict=True))
    found = steps.read()
    assert (found.nonfinite, found.finite_losses, found.loss) == (1, 1 + math.isfinite(loss), 1.0 + (loss if math.isfinite(loss) else 0))
    give_gradients(weights, 1.0)
    steps.take(optimiser, torch.tensor(1.0))
    assert any((a != b).any() for a, b in zip(before, everything(optimiser, weights), strict=True))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_zero_is_a_step_with_zeros_in_place_of_what_is_not_finite(bad: float) -> None:
    results = []
    for mode, wrong in (("zero", bad), ("skip", 1e-300)):  # the second is 0 in float32
        steps, weights = Steps(Arithmetic(nonfinite=mode), CPU), parameters()
        optimiser = OPTIMISERS["fused Adam"](weights)
        for value in (0.0, wrong):
            give_gradients(weights, 1.0, value)
            steps.take(optimiser, torch.tensor(math.nan if value == bad else 1.0))
        results.append(everything(optimiser, weights))
        assert steps.read().nonfinite == (mode == "zero")
    assert all((a == b).all() for a, b in zip(*results, strict=True))


def test_the_loss_scale_falls_with_overflows_and_grows_without() -> None:
    steps, weights = Steps(Arithmetic(precision="fp16", loss_scaling=8.0), CPU, growth_interval=3), parameters()
    optimiser, scales = OPTIMISERS["fused Adam"](weights), []
    for bad in (0.0, math.inf, math.inf, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, math.nan):
        give_gradients(weights, 8.0, bad)
        steps.take(optimiser, torch.tensor(1.0))
        scales.append(steps.read().scale)
    assert scales == [8, 4, 2, 2, 2, 4, 4, 4, 8, 4]
    assert (steps.read().overflows, steps.read().nonfinite) == (3, 0)
    for _ in range(60):  # what never becomes finite is not an overflow of fp16
        give_gradients(weights, 1.0, math.nan)
        steps.take(optimiser, torch.tensor(1.0))
    assert (steps.read().overflows, steps.read().nonfinite) == (3 + 42, 18) and steps.read().scale == 2.0**-40


def test_gradients_are_of_the_loss_itself_whatever_its_scale() -> None:
    ends = []
    for settings in ({}, {"loss_scaling": 64.0}, {"precision": "fp16", "loss_scaling": 0.25}, {"nonfinite": "zero", "loss_scaling": 4.0}):
        steps, weights = Steps(Arithmetic(**settings), CPU), parameters()
        optimiser = torch.optim.SGD(weights, lr=0.1)
        give_gradients(weights, 0.5 * float(steps.scale))
        steps.take(optimiser, torch.tensor(1.0))
        ends.append(everything(optimiser, weights))
    assert all((a == b).all() for end in ends for a, b in zip(ends[0], end, strict=True))


HARD = [
    ("x0", "snr", "edm_lognormal"), ("x0", "snr", "cosine"), ("eps", "edm", "cosine"), ("eps", {"kind": "constant", "on": "x0"}, "cosine"),
]


def recipe_of(target: str, weighting: Any, schedule: str, **changes: Any) -> Any:
    fields = tiny_fields(target=target, weighting=weighting, schedule=schedule, duration={"images": 448, "batch_size": 32},
                         ema={"snapshot_every": 224}, **changes)
    fields["evaluation"] = {**fields["evaluation"], "features": "pixels", "every": 224}
    return make_recipe(fields)


@pytest.mark.parametrize(("target", "weighting", "schedule"), HARD, ids=str)
def test_unbounded_weights_train_in_half_precision_as_in_single(target: str, weighting: Any, schedule: str, tmp_path: Path,
                                                                cache: Path) -> None:
    full, half = (
        list(train(recipe_of(target, weighting, schedule, arithmetic={"precision": precision}), tmp_path / precision, cache))
        for precision in ("fp32", "fp16")
    )
    assert half[0].metrics["loss"] == pytest.approx(full[0].metrics["loss"], rel=0.1)
    assert math.isfinite(half[-1].metrics["loss"]) and half[-1].metrics["nonfinite_steps"] == 0
    assert half[-1].metrics["loss_scale"] <= 1 and half[-1].metrics["overflow_steps"] >= 0 and "loss_scale" not in full[-1].metrics


def test_a_run_with_overflows_resumes_bit_for_bit(tmp_path: Path, cache: Path) -> None:
    recipe = recipe_of("x0", "snr", "cosine", arithmetic={"precision": "fp16", "loss_scaling": 4096.0})
    whole = list(train(recipe, tmp_path / "a", cache))
    next(cut := train(recipe, tmp_path / "b", cache))
    cut.close()
    resumed = list(train(recipe, tmp_path / "b", cache))
    assert whole[0].metrics["overflow_steps"] >= 5 and resumed[-1].metrics["overflow_steps"] >= whole[0].metrics["overflow_steps"]
    states = [checkpoint.load(tmp_path / name, checkpoint.stage(tmp_path / name)) for name in "ab"]
    assert states[0] and states[1] and states[0][1].keys() == states[1][1].keys()
    assert all(torch.equal(value, states[1][1][name]) for name, value in states[0][1].items())


def test_averages_take_in_the_same_weights_once_more_at_a_skipped_step(tmp_path: Path, cache: Path, monkeypatch: Any) -> None:
    recipe = make_recipe(tiny_fields())
    run = Run(recipe, tmp_path, cache, Ranks())
    run.train_until(64)
    monkeypatch.setattr(run.model, "backward", lambda _: Losses(torch.full((32,), math.nan), torch.ones(32), torch.ones(32)))
    run.model.prepare(64)  # the forced norm of the step to come
    weights, averages = ([v.detach().clone() for v in values] for values in (
        run.model.denoiser.parameters(), run.model.ema.averages[0.05]))
    run.train_until(96)
    beta = (1 - 32 / 96) ** run.model.ema._exponents[0.05]
    for weight, old, new in zip(weights, averages, run.model.ema.averages[0.05], strict=True):
        torch.testing.assert_close(new, beta * old + (1 - beta) * weight, rtol=1e-3, atol=1e-6)  # once more normalised
    assert run.model.steps.read().nonfinite == 1
