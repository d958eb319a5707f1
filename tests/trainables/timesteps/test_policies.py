"""One contract for every timestep policy, and what is particular to each."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainables.schedules import KINDS as SCHEDULES
from trainables.schedules import make_schedule
from trainables.timesteps import KINDS
from trainables.timesteps.adaptive import Adaptive, AdaptiveDraws, telling_levels
from trainables.timesteps.loss_second_moment import LossSecondMoment
from trainables.timesteps.speed import Speed

SCHEDULE = make_schedule("cosine")
CLEAN = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", sorted(KINDS))
def test_levels_belong_to_the_sample_not_to_the_worker(name: str) -> None:
    draws = KINDS[name]().start(SCHEDULE, seed=3, batch_size=64)
    levels, weights = draws.draw(640, 64, CLEAN)
    again = KINDS[name]().start(SCHEDULE, seed=3, batch_size=64)
    halves = [again.draw(640, 32, CLEAN[:32]), again.draw(672, 32, CLEAN[32:])]
    np.testing.assert_allclose(levels, np.concatenate([h[0] for h in halves]), rtol=1e-6)
    assert levels.dtype == np.float64 and levels.shape == (64,) and np.isfinite(levels).all()
    if weights is not None:
        np.testing.assert_allclose(weights, np.concatenate([h[1] for h in halves]), rtol=1e-6)
    other, _ = KINDS[name]().start(SCHEDULE, seed=4, batch_size=64).draw(640, 64, CLEAN)
    assert (levels != other).any()


@pytest.mark.parametrize("name", ["uniform", "stratified", "loss_second_moment"])
def test_untrained_policies_draw_from_the_schedule(name: str) -> None:
    levels, _ = KINDS[name]().start(SCHEDULE, seed=0, batch_size=64).draw(0, 20_000, CLEAN)
    np.testing.assert_allclose(np.sort(SCHEDULE.cdf(levels)), (np.arange(20_000) + 0.5) / 20_000, atol=0.015)


def test_loss_second_moment_draws_where_losses_are_large_and_stays_unbiased() -> None:
    draws = LossSecondMoment(cells=16, history=4).start(SCHEDULE, seed=0, batch_size=64)
    truth = lambda log_snr: np.where(np.abs(log_snr) < 1, 10.0, 1.0)  # noqa: E731
    for first in range(0, 6400, 64):
        levels, weights = draws.draw(first, 64, CLEAN)
        draws.observe(first, weights * truth(levels))
    levels, weights = draws.draw(10_000, 50_000, CLEAN)
    plain, _ = KINDS["uniform"]().start(SCHEDULE, 1, 64).draw(0, 50_000, CLEAN)
    assert (np.abs(levels) < 1).mean() > 2 * (np.abs(plain) < 1).mean()
    assert np.mean(weights * truth(levels)) == pytest.approx(np.mean(truth(plain)), rel=0.02)
    assert np.var(weights * truth(levels)) < 0.3 * np.var(truth(plain))
    copy = LossSecondMoment(cells=16, history=4).start(SCHEDULE, seed=0, batch_size=64)
    copy.restore(draws.state())
    np.testing.assert_array_equal(copy.draw(0, 64, CLEAN)[0], draws.draw(0, 64, CLEAN)[0])
    assert draws.density().mean() == pytest.approx(1) and draws.density().max() > 2


def test_loss_second_moment_settles_on_the_share_of_each_cells_loss() -> None:
    draws = LossSecondMoment(cells=4, history=2, uniform_share=0).start(SCHEDULE, seed=0, batch_size=64)
    loss_of_cell = np.array([0.7, 0.1, 1.0, 0.5])
    for first in range(0, 1280, 64):
        levels, corrections = draws.draw(first, 64, CLEAN)
        cells = ((1 - SCHEDULE.cdf(levels)) * 4).astype(int)
        draws.observe(first, corrections * loss_of_cell[cells])
        if first >= 640:
            np.testing.assert_allclose(draws.probabilities, loss_of_cell / loss_of_cell.sum(), rtol=1e-12)


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_loss_second_moment_acts_after_enough_draws_of_any_schedule(schedule: str) -> None:
    draws = LossSecondMoment().start(make_schedule(schedule), seed=0, batch_size=256)
    for first in range(0, 20 * 256, 256):
        levels, corrections = draws.draw(first, 256, CLEAN)
        draws.observe(first, corrections * (2 + np.sign(levels)))
    p = draws.probabilities
    assert p.max() > 1.5 * p.min()
    p_of_large = draws.density()[:8].mean()  # positive log SNR has loss 3, negative 1
    if schedule in ("cosine", "cauchy", "laplace"):
        assert p_of_large == pytest.approx(1.5, rel=0.01)


def test_speed_draws_flat_levels_less_often_by_its_ratio() -> None:
    draws = Speed(ratio=5).start(make_schedule("ddpm_linear"), seed=0, batch_size=64)
    assert 0.6 < draws.boundary < 0.8  # the paper's tau is about 700 of 1000 for the linear schedule
    levels, weights = draws.draw(0, 50_000, CLEAN)
    t = 1 - make_schedule("ddpm_linear").cdf(levels)
    early = (t < draws.boundary).mean() / draws.boundary
    late = (t >= draws.boundary).mean() / (1 - draws.boundary)
    assert early / late == pytest.approx(5, rel=0.08)
    assert weights.min() >= 0.4 and weights.max() == pytest.approx(0.6, abs=1e-3)


def test_adaptive_starts_balanced_and_rounds_to_its_levels() -> None:
    draws = Adaptive(levels=32).start(SCHEDULE, seed=0, batch_size=64)
    levels, weights = draws.draw(0, 64, CLEAN)
    assert weights is None and set(levels) <= set(draws.grid)
    continuous, _ = Adaptive(levels=32, discrete=False).start(SCHEDULE, 0, 64).draw(0, 64, CLEAN)
    assert len(set(continuous)) == 64
    a, b = draws._parameters(CLEAN)
    expected = torch.nn.functional.softplus(torch.tensor(0.5)) + 1e-5
    torch.testing.assert_close(a, expected.expand(64))
    torch.testing.assert_close(b, expected.expand(64))
    assert draws.chosen.tolist() == [0, 1, 2]


def test_telling_levels_are_those_that_explain_the_sum() -> None:
    rng = np.random.default_rng(0)
    signal = rng.standard_normal(5) * 10
    gains = rng.standard_normal((5, 40)) * 0.01
    for level in (7, 21, 33):
        gains[:, level] += signal
    assert telling_levels(gains, 3, np.arange(3)).tolist() == [7, 21, 33]
    assert telling_levels(gains[:2], 3, np.arange(3)).tolist() == [0, 1, 2]
    assert len(telling_levels(np.zeros((5, 40)), 3, np.arange(3))) == 3


@pytest.mark.parametrize(("name", "expected"), {
    "uniform": {}, "stratified": {}, "loss_second_moment": {"cells": 64, "history": 10, "uniform_share": 0.001},
    "speed": {"ratio": 5.0, "flat_slope": 0.1, "weight_bound": 0.6},
    "adaptive": {
        "levels": 1000, "discrete": True, "update_every": 40, "chosen": 3, "queue": 5, "entropy": 0.01, "lr": 0.01,
    },
}.items())
def test_defaults_are_the_published_ones(name: str, expected: dict) -> None:
    assert KINDS[name]().model_dump() == {"kind": name, **expected}


def nothing(module: torch.nn.Module) -> None:
    """One rank's gradients are the average."""


def taught(draws: AdaptiveDraws, times: int) -> AdaptiveDraws:
    """After so many updates, whose gains are those of the levels 3, 9 and 12 and a little noise."""
    for i in range(times):
        draws.draw(64 * i, 64, CLEAN)
        rng = np.random.default_rng(i)
        gain = 0.01 * rng.standard_normal(16)
        gain[[3, 9, 12]] += 10 * rng.standard_normal()
        draws.learn(CLEAN, torch.linspace(-1, 1, 64), gain, nothing)
    return draws


def test_adaptive_chooses_three_levels_from_the_last_five_gains() -> None:
    draws = taught(Adaptive(levels=16).start(SCHEDULE, seed=0, batch_size=64), 2)
    assert draws.chosen.tolist() == [0, 1, 2]  # two gains say nothing yet
    draws = taught(Adaptive(levels=16).start(SCHEDULE, seed=0, batch_size=64), 7)
    assert draws.chosen.tolist() == [3, 9, 12] and len(draws._gains) == 5
    short = taught(Adaptive(levels=16, queue=4, chosen=2).start(SCHEDULE, seed=0, batch_size=64), 7)
    assert len(short._gains) == 4 and len(short.chosen) == 2 and set(short.chosen) < {3, 9, 12}


def test_adaptive_goes_on_where_it_was_with_its_queue_its_policy_and_its_optimiser() -> None:
    draws = taught(Adaptive(levels=16).start(SCHEDULE, seed=0, batch_size=64), 6)
    draws.evaluations = 123
    copy = Adaptive(levels=16).start(SCHEDULE, seed=0, batch_size=64)
    copy.restore({name: value.clone() for name, value in draws.state().items()})
    np.testing.assert_array_equal(np.stack(copy._gains), np.stack(draws._gains))
    assert copy.report() == draws.report()
    assert draws.report()["policy/extra_evaluations_per_image"] == 123 / (6 * 64)
    for policy in (draws, copy):
        policy.draw(640, 64, CLEAN)
        policy.learn(CLEAN, torch.linspace(1, -1, 64), np.linspace(0, 1, 16) ** 2, nothing)
    assert copy.chosen.tolist() == draws.chosen.tolist()
    assert all(torch.equal(value, draws.state()[name]) for name, value in copy.state().items())


def test_the_first_steps_of_the_adaptive_policy_follow_the_reward_at_its_rate() -> None:
    """Where early times were rewarded the mean of Beta falls; Adam's first step is `lr` in each of the last layer's two biases."""
    for early, lr in ((True, 0.01), (False, 0.03)):
        draws = Adaptive(levels=16, lr=lr, entropy=0).start(SCHEDULE, seed=0, batch_size=64)
        draws.draw(0, 64, CLEAN)
        reward = torch.from_numpy(0.5 - draws._drawn if early else draws._drawn - 0.5)
        draws.learn(CLEAN, reward, np.zeros(16), nothing)
        change = draws.state()["policy/8.bias"] - 0.5
        torch.testing.assert_close(change, torch.tensor([-lr, lr] if early else [lr, -lr]), rtol=1e-3, atol=0)


def test_variational_bits_are_those_of_their_formula() -> None:
    draws = Adaptive(levels=8).start(SCHEDULE, seed=0, batch_size=64)
    snr = np.tan(np.pi * (np.arange(8) + 0.5) / 16) ** -2
    np.testing.assert_allclose(np.exp(draws.grid), snr, rtol=1e-9)
    expected = 0.5 * np.append(snr[0], snr[:-1] - snr[1:]) * 0.3 / np.log(2)
    np.testing.assert_allclose(draws.bits(torch.full((8,), 0.3, dtype=torch.float64), torch.arange(8)), expected, rtol=1e-9)


@pytest.mark.parametrize("ratio", [1.0, 3.0])
def test_speed_weights_go_from_the_bound_s_complement_to_the_bound_with_the_slope_of_sigma(ratio: float) -> None:
    for bound in (0.5, 0.6, 0.9):
        draws = Speed(ratio=ratio, weight_bound=bound).start(SCHEDULE, seed=0, batch_size=64)
        levels, weights = draws.draw(0, 512, CLEAN)
        t = 1 - SCHEDULE.cdf(levels)  # cosine: sigma = sin(pi t/2), whose slope is steepest at t = 0
        np.testing.assert_allclose(weights, (1 - bound) + (2 * bound - 1) * np.cos(np.pi * t / 2), atol=2e-3)


@pytest.mark.parametrize(("name", "field", "allowed", "refused"), [
    ("loss_second_moment", "cells", (2, 4096), (1, 4097)), ("loss_second_moment", "history", (1, 1000), (0, 1001)),
    ("loss_second_moment", "uniform_share", (0.0, 1.0), (-0.001, 1.001)),
    ("speed", "ratio", (1.0,), (0.999,)), ("speed", "flat_slope", (1e-9,), (0.0,)), ("speed", "weight_bound", (0.5, 1.0), (0.499, 1.001)),
    ("adaptive", "levels", (8, 10_000), (7, 10_001)), ("adaptive", "update_every", (1,), (0,)), ("adaptive", "chosen", (1,), (0,)),
    ("adaptive", "queue", (3,), (2,)), ("adaptive", "entropy", (0.0,), (-0.001,)), ("adaptive", "lr", (1e-9,), (0.0,)),
])
def test_edges_of_what_is_allowed(name: str, field: str, allowed: tuple, refused: tuple) -> None:
    for value in allowed:
        assert getattr(KINDS[name](**{field: value}), field) == value
    for value in refused:
        with pytest.raises(ValueError, match=field):
            KINDS[name](**{field: value})


def test_what_an_adaptive_policy_draws_is_told_as_shares_of_sixteen_cells() -> None:
    draws = AdaptiveDraws(Adaptive(levels=8, chosen=2), make_schedule("cosine"), 0, 64)
    assert draws.density() is None
    draws._drawn = np.concatenate([np.full(30, 0.03), np.full(10, 0.99)])
    assert draws.density().tolist() == [12.0, *[0.0] * 14, 4.0]  # of mean 1


def test_three_vectors_of_gains_are_enough_to_choose_levels() -> None:
    gains = np.array([[1.0, 5.0, 0.1], [2.0, 5.0, 0.3], [3.0, 5.1, 0.1]])
    assert telling_levels(gains[:2], 1, np.array([2])).tolist() == [2]
    assert telling_levels(gains, 1, np.array([2])).tolist() == [0]
