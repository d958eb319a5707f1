"""The loss of an image: correction * (weight * error / e^u + u * pixels)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.conftest import tiny_fields
from trainables.networks.modules.denoiser import Denoiser
from trainables.networks.modules.evaluating import evaluating
from trainables.optimisers.arithmetic import Arithmetic
from trainables.recipe import make_recipe
from trainables.targets import make_target
from trainables.training.batch import Batch, Losses, image_losses
from trainables.training.inputs import Inputs
from trainables.training.ranks import Ranks


class Zero(nn.Module):
    def forward(self, z: torch.Tensor, *_: object) -> torch.Tensor:
        return torch.zeros_like(z)


def batch_of(count: int = 6) -> Batch:
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(2, count, 1, 4, 4, generator=draw)
    weight, correction = torch.rand(2, count, generator=draw) + 0.5
    return Batch(0, images[0], images[1], None, torch.linspace(-3, 3, count), weight, correction)


def test_corrections_multiply_the_learned_uncertainty_as_a_whole() -> None:
    batch, denoiser = batch_of(), Denoiser(Zero(), make_target("x0"))
    head = lambda log_snr: 0.3 * log_snr  # noqa: E731
    losses = image_losses(denoiser, denoiser, batch, Arithmetic(), head)
    error, u = batch.clean.square().flatten(1).sum(1), 0.3 * batch.log_snr
    torch.testing.assert_close(losses.error, error)
    torch.testing.assert_close(losses.fit, batch.correction * batch.weight * error / u.exp())
    torch.testing.assert_close(losses.total, batch.correction * (batch.weight * error / u.exp() + 16 * u))
    plain = image_losses(denoiser, denoiser, batch, Arithmetic())
    torch.testing.assert_close(plain.total, batch.correction * batch.weight * error)
    torch.testing.assert_close(plain.fit, plain.total)
    bare = image_losses(denoiser, denoiser, batch.unweighted(), Arithmetic())
    assert (bare.total == bare.error).all() and (bare.error == plain.error).all()


def test_parts_of_a_batch_have_the_losses_of_the_whole() -> None:
    batch, denoiser = batch_of(), Denoiser(Zero(), make_target("v"))
    whole = image_losses(denoiser, denoiser, batch, Arithmetic())
    parts = Losses.join([image_losses(denoiser, denoiser, part, Arithmetic()) for part in batch.split(4)])
    assert [len(part) for part in batch.split(4)] == [4, 2]
    for name in ("total", "fit", "error"):
        assert (getattr(parts, name) == getattr(whole, name)).all()
    factor = torch.arange(6.0)
    torch.testing.assert_close(
        image_losses(denoiser, denoiser, batch.corrected(factor), Arithmetic()).total, whole.total * factor)


@pytest.mark.parametrize("changes", [
    {"importance_base": "cosine"}, {"timesteps": "speed"}, {"timesteps": "speed", "weighting": "uncertainty"}])
def test_what_corrects_draws_is_kept_apart_from_the_weighting(changes: dict) -> None:
    recipe = make_recipe(tiny_fields(schedule={"kind": "laplace", "b": 2}, **changes))
    batch = Inputs(recipe, recipe.data.load(), Ranks()).batch(0)
    torch.testing.assert_close(batch.weight, recipe.weighting.weight(batch.log_snr, recipe.target))
    assert not (batch.correction == 1).any()
    uncorrected = make_recipe(tiny_fields())
    assert (Inputs(uncorrected, uncorrected.data.load(), Ranks()).batch(0).correction == 1).all()


def test_a_look_in_evaluation_mode_takes_no_random_number() -> None:
    net = nn.Sequential(nn.Dropout(0.5))
    before = torch.get_rng_state()
    with evaluating(net):
        assert (net(torch.ones(9)) == 1).all() and not net[0].training
    assert net.training and net[0].training and (torch.get_rng_state() == before).all()
