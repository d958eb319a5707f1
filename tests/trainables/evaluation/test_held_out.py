"""The held-out loss: what it measures, and that it is the same question to every variant."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import tiny_fields
from trainables.data.digits import Digits
from trainables.ema.sweep_settings import Sweep
from trainables.evaluation.held_out import LEVELS, HeldOutLoss
from trainables.evaluation.sweep import sweep
from trainables.networks.modules.denoiser import Denoiser
from trainables.randomness import normal
from trainables.recipe import make_recipe
from trainables.targets import KINDS as TARGETS
from trainables.targets import make_target
from trainables.training import metrics_log
from trainables.training.batch import Batch, image_losses
from trainables.training.diagnostics import Diagnostics
from trainables.training.loop import train
from trainables.training.ranks import Ranks

HELD_OUT = {"kind": "digits", "held_out": 0.1}


class Linear(nn.Module):
    """F = factor * z."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, z: torch.Tensor, c_noise: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        return self.factor * z


def loss_of(network: nn.Module, target: str, batch_size: int = 64) -> dict[str, float]:
    data = Digits(held_out=0.1).load_held_out()
    assert data is not None
    return HeldOutLoss(data, batch_size, "fp32")(Denoiser(network, make_target(target)))


def test_the_best_linear_denoiser_has_loss_one_whatever_the_target() -> None:
    """D = c_skip x has the error (1 - c_skip)^2 + c_skip^2 / snr = c_out^2 on data of unit variance."""
    data = Digits(held_out=0.1).load_held_out()
    assert data is not None
    variance = float(data.whitened(np.arange(len(data.images))).square().mean())
    found = loss_of(Linear(0.0), "edm")
    for level in LEVELS:
        snr = np.exp(level)
        skip = snr / (snr + 1)
        expected = ((1 - skip) ** 2 * variance + skip**2 / snr) * (1 + snr)
        assert found[f"held_out_loss/log_snr_{level:.1f}"] == pytest.approx(expected, abs=0.05)
    assert found["held_out_loss"] == pytest.approx(np.mean([found[f"held_out_loss/log_snr_{level:.1f}"] for level in LEVELS]))
    v = loss_of(Linear(0.0), "v")  # F = 0 in both: D = c_skip x
    assert v == pytest.approx(found, rel=1e-3)


@pytest.mark.parametrize("target", TARGETS)
def test_it_has_the_units_of_the_loss_by_level_that_training_tells(target: str) -> None:
    """(SNR + 1) |D - y|^2 per value on data of unit variance, in both; the same images, noise and levels give the same number."""
    few, levels, count = Digits(held_out=40).load_held_out(), np.array([-6.2, -1.0, 0.4, 5.0]), 40
    assert few is not None
    recipe = make_recipe(tiny_fields(target=target, weighting="snr"))
    denoiser = Denoiser(Linear(0.3), recipe.target)
    held_out = HeldOutLoss(few, count, "fp32").at(denoiser, levels)
    clean = few.whitened(np.arange(count))
    for number, level in enumerate(levels):
        noise, at, ones = normal(0, f"held-out noise/{number}", 0, count, few.shape), torch.full((count,), level).float(), torch.ones(count)
        losses = image_losses(denoiser, denoiser, Batch(0, clean, noise, None, at, 7.0 * ones, ones), recipe.arithmetic)
        diagnostics = Diagnostics(recipe, denoiser, Ranks())
        diagnostics.observe(at, losses.error / math.prod(few.shape))
        (told,) = diagnostics.take(last=True).values()
        assert told == pytest.approx(held_out[number], rel=2e-4)


def test_it_does_not_depend_on_batches_or_on_what_was_drawn_before() -> None:
    one = loss_of(Linear(0.1), "edm")
    torch.manual_seed(5)
    assert loss_of(Linear(0.1), "edm", batch_size=17) == pytest.approx(one, rel=1e-5)


def test_reports_and_sweeps_tell_it_of_the_very_weights_that_they_score(tmp_path: Path, cache: Path) -> None:
    recipe = make_recipe(tiny_fields(data=HELD_OUT, label_dropout=0.1, ema={"sigma_rels": [0.05, 0.1], "snapshot_every": 64}))
    list(train(recipe, tmp_path / "a", cache))
    rows = metrics_log.read(tmp_path / "a")
    names = {"held_out_loss", *(f"held_out_loss/log_snr_{level:.1f}" for level in LEVELS)}
    assert all(names <= row.keys() for row in rows)
    assert rows[-1]["held_out_loss"] < rows[0]["held_out_loss"]
    width = rows[-1]["interim_sigma_rel"]
    point = sweep(recipe, tmp_path / "a", cache, Sweep(sigma_rels=(width,))).points[0]
    assert point.metrics["held_out_loss"] == pytest.approx(rows[-1]["held_out_loss"], rel=0.02)  # stored averages are rounded
    plain = make_recipe(tiny_fields())
    list(train(plain, tmp_path / "b", cache))
    assert not any(name.startswith("held_out") for row in metrics_log.read(tmp_path / "b") for name in row)
