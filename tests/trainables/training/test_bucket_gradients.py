"""Gradients by noise level: the same on any number of ranks, with dropout out of the way, and their noise known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import tiny_fields
from tests.trainables.training.thread_ranks import on_ranks
from trainables.networks.modules.build import build_denoiser
from trainables.networks.modules.denoiser import Denoiser, per_image
from trainables.optimisers.arithmetic import Arithmetic
from trainables.randomness import normal
from trainables.recipe import make_recipe
from trainables.targets import make_target
from trainables.training import bucket_gradients as module
from trainables.training.batch import Batch
from trainables.training.beside import Step
from trainables.training.beside.ugd import BucketFactors, _within_buckets
from trainables.training.bucket_gradients import BUCKETS, EDGES, bucket_gradients, bucket_of
from trainables.training.diagnostics import Diagnostics
from trainables.training.inputs import Inputs
from trainables.training.ranks import Ranks
from trainables.weightings.ugd import Ugd, min_norm_weights

LEVELS = torch.tensor([-4.0, 0.0, 4.0])


class Scale(nn.Module):
    """F = a z + dropout of b z."""

    def __init__(self) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.tensor([0.5, 0.3]))

    def forward(self, z: torch.Tensor, *_: object) -> torch.Tensor:
        return self.factors[0] * z + nn.functional.dropout(self.factors[1] * z, 0.5, self.training)


def batch_of(first: int, count: int) -> Batch:
    """Unit-variance data and noise at three levels in turn."""
    clean, noise = (normal(0, what, first, count, (1, 2, 2)) for what in ("data", "noise"))
    ones = torch.ones(count)
    return Batch(first, clean, noise, None, LEVELS[torch.arange(first, first + count) % 3], ones, ones)


def test_buckets_are_half_open_and_the_outermost_take_the_rest() -> None:
    assert bucket_of(torch.tensor([-99.0, -12, -10.5, -10.4, 0, 10.4, 10.5, 99])).tolist() == [0, 0, 1, 1, 8, 14, 15, 15]
    assert bucket_of(torch.from_numpy(EDGES[:-1])).tolist() == list(range(BUCKETS))


def test_expected_gradients_are_estimated_without_bias() -> None:
    denoiser = Denoiser(Scale(), make_target("x0"))
    alpha = torch.sigmoid(LEVELS).sqrt().numpy().astype(float)
    expected = 2 * 4 * (0.8 - alpha)  # d/da E|a z + b z - y|^2 over 4 pixels, where E[z y] = alpha, E[z z] = 1; the same by b
    variance = 2 * 4 * 4 * (1.64 - 1.6 * alpha + (0.8 - alpha) ** 2)  # of both, from Var(z r) = Var z Var r + Cov(z, r)^2, r = 0.8 z - y
    grams, variances = [], []
    for first in range(0, 200 * 24, 24):
        found = bucket_gradients(denoiser, batch_of(first, 24), Ranks(), Arithmetic())
        grams.append(found.unbiased_gram)
        variances.append(found.variance)
    assert found.buckets.tolist() == [5, 8, 10] and found.images.tolist() == [8, 8, 8]
    for estimates, truth in ((grams, 2 * np.outer(expected, expected)), (variances, variance)):
        z = (np.mean(estimates, 0) - truth) / (np.std(estimates, 0) / 200**0.5)
        assert np.abs(z).max() < 4


@pytest.mark.parametrize("arithmetic", [Arithmetic(), Arithmetic(micro_batch=3)], ids=["whole", "parts"])
def test_ranks_and_parts_change_nothing_but_rounding_and_dropout_takes_no_random_number(arithmetic: Arithmetic) -> None:
    denoiser = Denoiser(Scale(), make_target("v")).train()
    before = torch.get_rng_state()
    one = bucket_gradients(denoiser, batch_of(0, 24), Ranks(), Arithmetic())
    assert (torch.get_rng_state() == before).all() and denoiser.training
    found = on_ranks(
        2, lambda ranks: bucket_gradients(Denoiser(Scale(), make_target("v")), batch_of(12 * ranks.rank, 12), ranks, arithmetic))
    for each in found:
        np.testing.assert_allclose(each.gram, one.gram, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(each.variance, one.variance, rtol=1e-5)
        np.testing.assert_array_equal(each.images, one.images)
    few = bucket_gradients(denoiser, batch_of(0, 4), Ranks(), Arithmetic())
    assert few.buckets.tolist() == [5]  # one image says nothing of the noise


def test_parts_of_the_parameters_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_recipe(tiny_fields(network={"kind": "dit", "width": 16, "depth": 2, "heads": 2}))
    data = recipe.data.load()
    denoiser, batch = build_denoiser(recipe, data), Inputs(recipe, data, Ranks()).batch(0)
    with torch.no_grad():
        for i, parameter in enumerate(denoiser.parameters()):
            parameter.add_(normal(0, "some", i, 1, tuple(parameter.shape))[0], alpha=0.05)  # no gradient is zero
    whole, size = bucket_gradients(denoiser, batch, Ranks(), Arithmetic()), sum(p.numel() for p in denoiser.parameters())
    held: list[int] = []
    gram = module._gram
    monkeypatch.setattr(module, "_gram", lambda vectors: held.append(sum(v.numel() for v in vectors)) or gram(vectors))
    parts = bucket_gradients(denoiser, batch, Ranks(), Arithmetic(), at_once=size // 8)
    assert (parts.buckets == whole.buckets).all() and len(whole.buckets) > 4 and (parts.images == whole.images).all()
    assert np.abs(parts.gram - whole.gram).max() < 1e-6 * whole.gram.max()
    np.testing.assert_allclose(parts.variance, whole.variance, rtol=1e-6)
    most = max(size // 8, *(p.numel() for p in denoiser.parameters()))
    assert max(held) <= len(whole.buckets) * most and most < size / 2 and sum(held) == len(whole.buckets) * size


def ugd_factors(ranks: Ranks, decay: float = 0.9, steps: int = 3) -> np.ndarray:
    ugd, denoiser, count = BucketFactors(Ugd(every=1, decay=decay)), Denoiser(Scale(), make_target("x0")), 24 // ranks.world
    for index in range(steps):
        batch = batch_of(24 * index + count * ranks.rank, count)
        ugd.before_step(Step(denoiser, batch, index, ranks, Arithmetic()))
    restored = BucketFactors(Ugd(every=1, decay=decay))
    restored.restore(ugd.state())
    assert (restored.factor(batch.log_snr) == ugd.factor(batch.log_snr)).all()
    assert all((restored.state()[name] == array).all() for name, array in ugd.state().items())
    return ugd.factors


def test_ugd_has_the_same_factors_on_one_and_two_ranks() -> None:
    one, other = on_ranks(2, ugd_factors)
    assert (one == other).all() and one.std() > 0.1
    np.testing.assert_allclose(one, ugd_factors(Ranks()), rtol=1e-5)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_ugd_averages_its_estimates_over_time(decay: float) -> None:
    estimates = [bucket_gradients(Denoiser(Scale(), make_target("x0")), batch_of(24 * i, 24), Ranks(), Arithmetic()) for i in range(3)]
    shares = np.array([decay**2, decay, 1.0])
    mean = np.tensordot(shares / shares.sum(), [e.unbiased_gram for e in estimates], 1)
    expected = np.ones(BUCKETS)
    expected[[5, 8, 10]] = 3 * min_norm_weights(mean, Ugd().ridge)
    np.testing.assert_allclose(ugd_factors(Ranks(), decay), expected, rtol=1e-6)


@pytest.mark.parametrize("corrected", [False, True], ids=["drawn", "corrected"])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.98])
def test_ugd_makes_the_mean_gradient_shortest_whatever_the_buckets_shares(share: float, corrected: bool) -> None:
    """Two buckets, of which one holds so many of the images, or so much of their corrections."""
    count = 400
    one = round(count * (0.5 if corrected else share))
    batch = replace(batch_of(0, count), log_snr=torch.cat([torch.full((one,), -4.0), torch.full((count - one,), 4.0)]))
    if corrected:
        batch = batch.corrected(torch.cat([torch.full((one,), 2 * share), torch.full((count - one,), 2 - 2 * share)]))
    denoiser = Denoiser(Scale(), make_target("x0"))
    ugd = BucketFactors(Ugd(every=1, ridge=1e-9))
    ugd.before_step(Step(denoiser, batch, 0, Ranks(), Arithmetic()))
    factor = ugd.factor(batch.log_snr)
    counts = batch.correction * factor
    assert float(counts.mean()) == pytest.approx(float(batch.correction.mean()), rel=1e-6)
    found = bucket_gradients(denoiser, batch.unweighted(), Ranks(), Arithmetic())
    weights = [float(counts[:one].sum()) / count, float(counts[one:].sum()) / count]
    lengths = {w: np.array([w, 1 - w]) @ found.unbiased_gram @ [w, 1 - w] for w in np.linspace(0, 1, 101)}
    assert weights @ found.unbiased_gram @ weights <= min(lengths.values()) + 1e-3 * np.trace(found.unbiased_gram)
    assert 0.05 < weights[0] < 0.95  # neither is left out


def test_ugd_counts_images_of_a_bucket_by_their_corrections() -> None:
    """Two levels in one bucket, of which one counts 19 times as much, against a third level whose gradient points the other way."""
    count, denoiser = 30_000, Denoiser(Scale(), make_target("x0"))
    levels, corrections = torch.tensor([-1.4, -0.1, 4.0]), torch.tensor([0.1, 1.9, 1.0])
    batch = replace(batch_of(0, count), log_snr=levels.repeat_interleave(count // 3)).corrected(corrections.repeat_interleave(count // 3))
    ugd = BucketFactors(Ugd(every=4, ridge=1e-9))
    for index in range(4):
        ugd.before_step(Step(denoiser, batch, index, Ranks(), Arithmetic()))
    assert ugd.report() == {"weighting/extra_evaluations_per_image": 3 / 4}  # forward and backward, every fourth step
    resumed = BucketFactors(Ugd(every=4))
    resumed.restore(ugd.state())
    assert resumed.report() == ugd.report()
    one, two, other = 2 * 4 * (0.8 - torch.sigmoid(levels).sqrt().numpy())  # expected gradients, by each of the two factors alike
    shared = 0.05 * one + 0.95 * two
    weight = -other / (shared - other)  # of the first bucket, where the sum of both gradients is 0
    np.testing.assert_allclose(ugd.factors[[7, 10]], [weight / (2 / 3), (1 - weight) / (1 / 3)], rtol=0.05)


def test_losses_by_level_are_the_same_quantity_for_every_weighting_and_target() -> None:
    level, clean, noise = torch.linspace(-11, 11, 16), *normal(0, "some", 0, 2, (16, 1, 2, 2))
    denoised = clean + 0.1 * noise
    reports = []
    for target in ("eps", "x0", "v", "edm", "flow"):
        recipe = make_recipe(tiny_fields(target=target, weighting={"kind": "min_snr", "gamma": 2}))
        diagnostics = Diagnostics(recipe, Denoiser(nn.Identity(), recipe.target), Ranks())
        log_snr = per_image(level.double(), clean)
        a, b = recipe.target.to_clean(torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt())
        z = torch.sigmoid(log_snr).sqrt() * clean + torch.sigmoid(-log_snr).sqrt() * noise
        error = ((denoised - a * z) / b - (clean - a * z) / b).square().flatten(1).mean(1)
        diagnostics.observe(level, error)
        reports.append(diagnostics.take(last=True))
        assert not diagnostics.take(last=True)
    expected = (level.exp() + 1) * 0.01 * noise.square().flatten(1).mean(1)
    assert len(reports[0]) == BUCKETS
    for report in reports:
        np.testing.assert_allclose(list(report.values()), expected.numpy(), rtol=1e-3)


def test_diagnostics_of_ranks_are_added_and_kept_over_a_break() -> None:
    recipe = make_recipe(tiny_fields())
    make = lambda ranks: Diagnostics(recipe, Denoiser(Scale(), recipe.target), ranks)  # noqa: E731
    level, error = torch.linspace(-3, 3, 12), torch.arange(12.0)

    def work(ranks: Ranks) -> dict[str, float]:
        mine = slice(ranks.rank * 12 // ranks.world, (ranks.rank + 1) * 12 // ranks.world)
        first = make(ranks)
        first.observe(level[mine], error[mine])
        first.take(last=False)
        second = make(ranks)
        second.restore(first.state())
        second.observe(level[mine], torch.full_like(error[mine], float("nan")))
        second.observe(level[mine], 3 * error[mine])
        return second.take(last=True)

    one, (two, other) = on_ranks(1, work)[0], on_ranks(2, work)
    assert one == pytest.approx(two) and two == other
    unbroken = make(Ranks())
    unbroken.observe(level, error)
    unbroken.observe(level, 3 * error)
    assert unbroken.take(last=True) == pytest.approx(one)


@pytest.mark.parametrize("spread", [0.5, 1.0])
def test_unequal_corrections_make_no_gradient_of_ugd_shorter(spread: float) -> None:
    """All images of a bucket have the same gradient, which has no noise: its length is known whatever they count by."""
    count, denoiser = 4, Denoiser(Scale(), make_target("x0"))
    one = batch_of(0, 1)
    same = {"clean": one.clean.expand(count, -1, -1, -1), "noise": one.noise.expand(count, -1, -1, -1)}
    batch = replace(batch_of(0, count), **same, log_snr=torch.full((count,), 0.5))
    exact = bucket_gradients(denoiser, batch, Ranks(), Arithmetic()).gram[0, 0]
    for seed in range(5):
        corrections = (spread * normal(seed, "corrections", 0, 1, (count,))[0]).exp()
        found = bucket_gradients(denoiser, _within_buckets(batch.corrected(corrections), Ranks()), Ranks(), Arithmetic())
        assert found.unbiased_gram[0, 0] == pytest.approx(exact, rel=1e-5)
