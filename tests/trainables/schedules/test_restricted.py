"""Restricted densities: whole, exact in both tails, and what every timestep policy draws from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from tests.conftest import tiny_fields
from trainables.errors import ConfigError
from trainables.recipe import make_recipe
from trainables.schedules import KINDS, make_schedule
from trainables.schedules.restricted import Levels, restricted
from trainables.timesteps import KINDS as POLICIES
from trainables.training.inputs import Inputs
from trainables.training.ranks import Ranks

NAMES = sorted(KINDS)
ENDS = st.floats(-9, 9)
CLEAN = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@given(st.sampled_from(NAMES), ENDS, ENDS)
@settings(max_examples=60, deadline=None)
def test_the_density_integrates_to_one_and_is_the_whole_one_over_its_mass(name: str, a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    if high - low < 0.01:
        return
    whole = make_schedule(name)
    density = restricted(whole, Levels(low=low, high=high))
    places = [getattr(whole, "location", 0.0)] if name != "ddpm_linear" else whole.levels()
    knots = np.unique(np.clip(np.concatenate([np.linspace(low, high, 65), places]), low, high))  # smooth between them
    x, weights = np.polynomial.legendre.leggauss(12)
    points = (knots[:-1] + knots[1:])[:, None] / 2 + np.diff(knots)[:, None] / 2 * x
    pieces = (np.exp(density.log_prob(points)) * weights).sum(1) * np.diff(knots) / 2
    assert pieces.sum() == pytest.approx(1, abs=1e-8)
    np.testing.assert_allclose(density.cdf(knots[1:]), np.cumsum(pieces), atol=1e-8)
    middle = (low + high) / 2
    assert float(density.log_prob(middle) + np.log(density.mass)) == pytest.approx(float(whole.log_prob(middle)), rel=1e-12)
    assert np.isneginf(density.log_prob(np.array([low - 0.1, high + 0.1]))).all()


@given(st.sampled_from(NAMES), st.floats(-19, 19), st.floats(0.01, 40), st.booleans())
@settings(max_examples=100, deadline=None)
def test_quantiles_invert_the_cdf_and_stay_inside_whatever_the_tail(name: str, low: float, width: float, is_open: bool) -> None:
    levels = Levels(low=low) if is_open else Levels(low=low, high=min(low + width, 20))
    try:
        density = restricted(make_schedule(name), levels)
    except ValueError as error:
        assert name == "ddpm_linear", error  # it has no tails
        return
    u = np.concatenate([np.geomspace(1e-9, 0.5, 40), 1 - np.geomspace(1e-9, 0.5, 40)])
    x = density.icdf(u)
    assert (x >= low).all() and (is_open or (x <= low + width).all()) and (np.diff(density.icdf(np.sort(u))) >= 0).all()
    np.testing.assert_allclose(density.cdf(x), u, atol=1e-7)
    np.testing.assert_allclose(density.cdf(x) + density.survival(x), 1, atol=1e-12)
    drawn = density.sample(1000, 0)
    assert drawn.min() >= density.log_snr_min and drawn.max() <= density.log_snr_max
    as_torch = density.log_prob(torch.from_numpy(x))
    np.testing.assert_allclose(as_torch.numpy(), density.log_prob(x), rtol=1e-12)


def test_partitions_share_out_all_that_training_draws() -> None:
    """Also what is drawn at the ends of the range for the tails beyond it."""
    whole = make_schedule("cauchy", log_snr_min=-6, log_snr_max=6)
    groups = [Levels(high=-2.0), Levels(low=-2.0, high=1.0), Levels(low=1.0, high=5.0), Levels(low=5.0)]
    assert sum(restricted(whole, g).mass for g in groups) == pytest.approx(1, abs=1e-14)  # type: ignore[attr-defined]
    everything = whole.sample(40_000, 0)
    tail = restricted(whole, groups[-1]).sample(40_000, 1)
    assert np.mean(everything[everything >= 5] == 6) == pytest.approx(np.mean(tail == 6), abs=0.02)
    assert restricted(whole, Levels(low=-8.0, high=-2.0)) == restricted(whole, groups[0])


def test_far_tails_keep_their_digits() -> None:
    """Laplace: within a tail, the density is exponential, wherever the interval lies."""
    for low in (5.0, 19.0):
        density = restricted(make_schedule("laplace", b=0.25), Levels(low=low, high=low + 1))
        u = np.linspace(0.01, 0.99, 9)
        np.testing.assert_allclose(density.icdf(u) - low, -0.25 * np.log1p(-u * (1 - np.exp(-4.0))), rtol=1e-7)


@pytest.mark.parametrize("name", sorted(POLICIES))
@pytest.mark.parametrize("levels", [Levels(high=-3), Levels(low=-1, high=0.5), Levels(low=7)], ids=str)
def test_every_policy_draws_inside(name: str, levels: Levels) -> None:
    density = restricted(make_schedule("cosine"), levels)
    draws = POLICIES[name]().start(density, seed=0, batch_size=64)
    for first in range(0, 64 * 30, 64):
        drawn, corrections = draws.draw(first, 64, CLEAN)
        assert all(level in levels for level in drawn) and np.isfinite(drawn).all()
        assert corrections is None or (np.isfinite(corrections) & (corrections > 0)).all()
        draws.observe(first, 1 + np.abs(drawn))


def test_importance_corrections_stay_exact() -> None:
    """The weighted mean over draws from one restricted density is the mean under the other."""
    low, high = -2.0, 1.5
    recipe = make_recipe(tiny_fields(
        schedule={"kind": "laplace", "b": 0.5}, importance_base={"kind": "cosine"}, levels={"low": low, "high": high},
        weighting={"kind": "edm"}, timesteps={"kind": "stratified"},
    ))
    base = restricted(make_schedule("cosine"), Levels(low=low, high=high))
    ratio = np.exp(base.log_prob(x := recipe.drawn.sample(20_000, 0, stratified=True)) - recipe.drawn.log_prob(x))
    assert ratio.mean() == pytest.approx(1, abs=1e-3)
    assert (ratio * x).mean() == pytest.approx(integrate.quad(lambda v: v * float(np.exp(base.log_prob(v))), low, high)[0], abs=3e-3)
    assert not any("importance_base" in warning for warning in recipe.warnings)
    batch = Inputs(recipe, recipe.data.load(), Ranks()).batch(0)
    plain = Inputs(recipe.model_copy(update={"importance_base": None}), recipe.data.load(), Ranks()).batch(0)
    levels = batch.log_snr.double().numpy()
    expected = np.exp(base.log_prob(levels) - recipe.drawn.log_prob(levels))
    correction = batch.correction / plain.correction
    np.testing.assert_allclose(correction.numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize(("levels", "said"), [
    ({"low": 1, "high": 1}, "at least 0.001 above low"),
    ({"low": 2, "high": 1}, "at least 0.001 above low"), ({}, "give low, high or both"),
    ({"low": 25}, "outside the schedule's range"), ({"low": 15}, "holds nothing of the density of ddpm_linear"),
])
def test_what_holds_no_level_is_refused(levels: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_recipe({"schedule": {"kind": "ddpm_linear"}, "levels": levels})
    with pytest.raises(ConfigError, match="importance_base"):
        make_recipe({"levels": {"low": 15}, "importance_base": {"kind": "ddpm_linear"}})


def test_levels_in_words() -> None:
    assert str(Levels(low=-1.5, high=2.25)) == "log SNR -1.5 to 2.25"
    assert str(Levels(low=-1.5)) == "log SNR from -1.5" and str(Levels(high=2.25)) == "log SNR below 2.25"
