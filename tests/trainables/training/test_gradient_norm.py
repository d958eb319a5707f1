"""The gradient's norm: a mean over the steps of a report, unchanged by resuming, and no larger than the limit after clipping."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import tiny_fields
from tests.operators import operators
from tests.trainables.training.test_training import final_weights
from trainables.optimisers.arithmetic import Arithmetic
from trainables.recipe import make_recipe
from trainables.training.gradient_norm import GradientNorms, add_norms, clipped_norm
from trainables.training.loop import train
from trainables.training.steps import Steps

CPU = torch.device("cpu")


def parameters(*norms: float) -> list[torch.nn.Parameter]:
    """Parameters whose gradients have these norms."""
    made = [torch.nn.Parameter(torch.zeros(2, 2)) for _ in norms]
    for parameter, norm in zip(made, norms, strict=True):
        parameter.grad = torch.full((2, 2), norm / 2)
    return made


@pytest.mark.parametrize(("limit", "left"), [(0.0, 5.0), (10.0, 5.0), (1.0, 1.0)])
def test_all_gradients_together_are_clipped(limit: float, left: float) -> None:
    weights, totals = parameters(3.0, 4.0), np.zeros(3)
    norm = clipped_norm(weights, limit)
    gradients = [w.grad for w in weights]
    assert math.hypot(*(float(g.norm()) for g in gradients)) == pytest.approx(left, rel=1e-5)
    assert float(gradients[1].norm() / gradients[0].norm()) == pytest.approx(4 / 3)
    add_norms(totals, np.array([float(norm), math.inf], dtype=np.float32), limit)
    assert totals.tolist() == [5.0, 1.0, limit == 1.0]


def test_what_is_not_finite_is_left_out_of_the_mean() -> None:
    steps = Steps(Arithmetic(), CPU, clip_norm=4.0)
    for norms in ((3.0, 4.0), (math.inf, 1.0), (math.nan, 1.0), (0.6, 0.8)):
        weights = parameters(*norms)
        steps.take(torch.optim.SGD(weights, lr=1.0), torch.tensor(1.0))
        assert all(w.isfinite().all() for w in weights)
    assert steps.read().gradients == GradientNorms(pytest.approx(6.0), 2, 1)
    steps.forget()
    assert steps.read().gradients == GradientNorms(0.0, 0, 0) and steps.read().nonfinite == 2


def test_the_loss_scale_is_taken_out_before_clipping() -> None:
    ends = []
    for scale in (1.0, 1024.0):
        weights = parameters(3.0 * scale, 4.0 * scale)
        steps = Steps(Arithmetic(loss_scaling=scale), CPU, clip_norm=1.0)
        steps.take(torch.optim.SGD(weights, lr=1.0), torch.tensor(1.0))
        ends.append(torch.cat([w.detach() for w in weights]))
        assert steps.read().gradients.total == pytest.approx(5.0)
    torch.testing.assert_close(*ends)


def test_the_number_of_operators_does_not_grow_with_the_network() -> None:
    counts = []
    for number in (2, 200):
        weights = parameters(*[1.0] * number)
        with operators() as seen:
            clipped_norm(weights, 1.0)
        counts.append(sum(seen.values()))
    assert counts[0] == counts[1] <= 20


def test_norms_are_logged_and_go_on_after_a_resume(tmp_path: Path, cache: Path) -> None:
    common = {"network": {"kind": "dit", "width": 16, "depth": 1, "heads": 2}}
    rows = {}
    for name, clip in {"plain": 0.0, "loose": 1e6, "tight": 1e-3}.items():
        recipe = make_recipe(tiny_fields(**common, optimiser={"kind": "sgd", "clip_norm": clip}))
        rows[name] = list(train(recipe, tmp_path / name, cache))[-1].metrics
    assert (final_weights(tmp_path / "plain") == final_weights(tmp_path / "loose")).all()
    assert rows["plain"]["gradient_norm"] == rows["loose"]["gradient_norm"] > 1e-3
    assert "clipped_share" not in rows["plain"] and (rows["loose"]["clipped_share"], rows["tight"]["clipped_share"]) == (0.0, 1.0)
    moved = [abs(final_weights(tmp_path / name)).sum() for name in ("plain", "tight")]
    assert moved[0] != moved[1]
    # A shorter run that ends between two reports, and a longer one that goes on from it.
    for images in (160, 256):
        recipe = make_recipe(tiny_fields(**common, optimiser={"kind": "sgd"}, duration={"images": images, "batch_size": 32}))
        grown = list(train(recipe, tmp_path / "grown", cache))
    assert grown[-1].metrics["gradient_norm"] == rows["plain"]["gradient_norm"]
