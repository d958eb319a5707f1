"""Scores of units against what removing them really costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from tests.trainables.experts.networks import CLASSES, NETWORKS, SHAPE, build, mask
from trainables.data.digits import Digits
from trainables.errors import ConfigError
from trainables.experts.criteria import KINDS, scores
from trainables.experts.criteria.random import Random
from trainables.networks.modules.denoiser import Denoiser
from trainables.networks.modules.forced_norm import ForcedNorm
from trainables.networks.modules.units import prunable
from trainables.optimisers.arithmetic import Arithmetic
from trainables.randomness import normal, uniform
from trainables.schedules.normal import EdmLognormal
from trainables.targets import make_target
from trainables.training.batch import Batch, image_losses


def batch_of(first: int, count: int, purpose: str = "training") -> Batch:
    """Digits of four classes at the levels of EDM2's density."""
    data = Digits().load()
    chosen = np.flatnonzero(np.asarray(data.labels) < CLASSES)
    places = chosen[(np.arange(first, first + count) * 7) % len(chosen)]
    levels = torch.from_numpy(EdmLognormal().icdf(uniform(0, f"{purpose} levels", first, count))).float()
    ones = torch.ones(count)
    labels = torch.nn.functional.one_hot(torch.from_numpy(np.asarray(data.labels)[places]), CLASSES).float()
    return Batch(first, data.whitened(places), normal(0, purpose, first, count, SHAPE), labels, levels, ones, ones)


def trained(name: str, steps: int, rate: float) -> Denoiser:
    torch.manual_seed(0)
    settings = NETWORKS[name] if name == "dit" else NETWORKS[name].model_copy(update={"channels": 8})
    denoiser = Denoiser(settings.build(SHAPE[0], SHAPE[1], CLASSES), make_target("edm"))
    optimiser = torch.optim.Adam(denoiser.parameters(), lr=rate, betas=(0.9, 0.99))
    for step in range(steps):
        ForcedNorm(denoiser)()
        batch = batch_of(step * 64, 64)
        optimiser.zero_grad()
        (image_losses(denoiser, denoiser, batch, Arithmetic()).total.sum() / len(batch)).backward()
        optimiser.step()
    return denoiser.eval()


@pytest.mark.parametrize(("name", "rate"), [
    ("edm2 G", 0.01), ("adm", 1e-3), ("dit", 1e-3),
    pytest.param("edm2 C", 1e-3, marks=pytest.mark.slow), pytest.param("edm2 group", 0.01, marks=pytest.mark.slow),
])
def test_taylor_ranks_units_as_their_removal_does(name: str, rate: float) -> None:
    denoiser = trained(name, 40, rate)
    held_out = batch_of(0, 64, "held out")
    found = {kind: scores(kind, denoiser, [held_out]) for kind in KINDS}
    units = prunable(denoiser.network)
    some = [(unit, index) for unit in units for index in range(0, units[unit].count, 1 if unit.endswith("heads") else 3)]
    with torch.no_grad():
        loss = total_loss(denoiser, held_out)
        removal = [abs(without(denoiser, unit, index, held_out) - loss) for unit, index in some]
    agreement = {
        kind: spearmanr([float(of[unit][index]) for unit, index in some], removal).statistic for kind, of in found.items()
    }
    assert agreement["taylor"] > 0.6
    assert agreement["fisher"] > 0.6
    assert agreement["taylor"] > max(agreement["magnitude"], agreement["random"]) + 0.2


def total_loss(denoiser: Denoiser, batch: Batch) -> float:
    return float(image_losses(denoiser, denoiser, batch, Arithmetic()).total.sum())


def without(denoiser: Denoiser, unit: str, index: int, batch: Batch) -> float:
    count = prunable(denoiser.network)[unit].count
    hooks = mask(denoiser.network, {unit: torch.tensor([i for i in range(count) if i != index])})
    loss = total_loss(denoiser, batch)
    for hook in hooks:
        hook.remove()
    return loss


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["edm2 G", "adm", "dit"])
def test_every_unit_has_a_score_that_does_not_depend_on_how_images_are_batched(name: str, kind: str) -> None:
    denoiser = build(NETWORKS[name]).train()
    batch = batch_of(0, 6)
    whole, parts = scores(kind, denoiser, [batch]), scores(kind, denoiser, batch.split(4))
    assert {unit: len(of) for unit, of in whole.items()} == NETWORKS[name].units(SHAPE[1])
    for unit, of in whole.items():
        assert of.dtype == torch.float64 and torch.isfinite(of).all() and (of >= 0).all()
        torch.testing.assert_close(parts[unit], of, rtol=1e-3, atol=1e-7 * float(of.max()))
    assert denoiser.training and all(p.grad is None for p in denoiser.parameters())


def test_magnitude_tells_nothing_of_rows_under_the_forced_norm() -> None:
    """What differs between units is what reads them."""
    denoiser = build(NETWORKS["edm2 G"])
    ForcedNorm(denoiser)()
    conv0 = denoiser.network.encoder["8_block0"].conv0.weight
    norms = conv0.detach().flatten(1).norm(dim=1)
    assert float(norms.std() / norms.mean()) < 1e-4


def test_weights_of_images_count() -> None:
    denoiser = build(NETWORKS["dit"])
    batch = batch_of(0, 4)
    twice = scores("taylor", denoiser, [batch.corrected(2 * torch.ones(4))])
    for unit, of in scores("taylor", denoiser, [batch]).items():
        torch.testing.assert_close(twice[unit], 2 * of)


def test_random_scores_are_a_function_of_seed_and_block() -> None:
    denoiser = build(NETWORKS["dit"])
    a, b, c = (scores(Random(seed=seed), denoiser, []) for seed in (1, 1, 2))
    assert all(torch.equal(a[unit], b[unit]) and not torch.equal(a[unit], c[unit]) for unit in a)
    assert not torch.equal(a["blocks/0/mlp"], a["blocks/1/mlp"])


def test_what_cannot_be_scored_is_explained() -> None:
    denoiser = build(NETWORKS["dit"])
    with pytest.raises(ConfigError, match="'tailor' is not known"):
        scores("tailor", denoiser, [])
    with pytest.raises(ConfigError, match="at least one batch"):
        scores("taylor", denoiser, [])
