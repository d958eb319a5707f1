"""Every schedule against 40-digit reference values and one shared contract."""

from __future__ import annotations

import json
import sys
import types

import numpy as np
import pytest
import torch
from scipy import integrate

from tests.conftest import GOLDEN
from trainables.errors import ConfigError
from trainables.schedules import KINDS, make_schedule

CASES = json.loads((GOLDEN / "schedules.json").read_text())["cases"]
NAMES = sorted(KINDS)
T = np.concatenate([np.geomspace(1e-6, 0.5, 60), 1 - np.geomspace(1e-6, 0.5, 60)])


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['schedule']}{c['params']}")
@pytest.mark.parametrize("convert", [np.asarray, lambda v: torch.tensor(v, dtype=torch.float64)], ids=["numpy", "torch"])
def test_equals_reference_values(case: dict, convert) -> None:
    schedule = make_schedule(case["schedule"], **case["params"])
    np.testing.assert_allclose(schedule.log_snr(convert(case["t"])), case["log_snr"], rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(np.exp(schedule.log_prob(convert(case["log_snr"]))), case["pdf"], rtol=1e-13)
    np.testing.assert_allclose(schedule.cdf(convert(case["log_snr"])), case["cdf"], rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_cdf_and_quantiles_invert_each_other(name: str) -> None:
    schedule = make_schedule(name)
    np.testing.assert_allclose(schedule.cdf(schedule.log_snr(T)), 1 - T, atol=1e-12)
    np.testing.assert_allclose(schedule.cdf(schedule.icdf(T)), T, atol=1e-12)
    assert (np.diff(schedule.log_snr(np.sort(T))) <= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_density_is_the_derivative_of_the_cdf(name: str) -> None:
    schedule = make_schedule(name)
    low, high = float(schedule.icdf(0.05)), float(schedule.icdf(0.95))
    grid = np.linspace(low, high, 4001)
    mass = integrate.simpson(np.exp(schedule.log_prob(grid)), x=grid)
    assert mass == pytest.approx(0.9, abs=1e-3 if name == "ddpm_linear" else 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_draws_follow_the_density_and_stay_in_range(name: str) -> None:
    schedule = make_schedule(name, log_snr_min=-12, log_snr_max=12)
    for draws in (
        schedule.sample(20_000, np.random.default_rng(0)), schedule.sample(20_000, torch.Generator().manual_seed(0)).numpy(),
        schedule.sample(20_000, 0, stratified=True),
    ):
        assert draws.dtype == np.float64 and draws.min() >= -12 and draws.max() <= 12
        inside = np.sort(draws)[500:-500]
        np.testing.assert_allclose(schedule.cdf(inside), (np.arange(500, 19_500) + 0.5) / 20_000, atol=0.015)


def test_stratified_draws_put_one_level_into_each_stratum() -> None:
    schedule = make_schedule("laplace")
    shares = np.sort(schedule.cdf(schedule.sample(64, 3, stratified=True)))
    assert (np.floor(shares * 64 + 1e-9) == np.arange(64)).all() or np.ptp(np.diff(shares)) < 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_keeps_type_shape_and_dtype(name: str) -> None:
    schedule = make_schedule(name)
    t = torch.rand(2, 3, dtype=torch.float32) * 0.98 + 0.01
    for function in (schedule.log_snr, schedule.cdf, schedule.icdf, schedule.log_prob):
        out = function(t)
        assert isinstance(out, torch.Tensor) and out.shape == (2, 3) and out.dtype == torch.float32


def test_ddpm_levels_are_those_of_the_cumulative_product() -> None:
    betas = np.linspace(1e-4, 0.02, 1000)
    alpha_bar = np.cumprod(1 - betas)
    np.testing.assert_allclose(make_schedule("ddpm_linear").levels(), np.log(alpha_bar / (1 - alpha_bar)), rtol=1e-9)


def test_wrong_names_and_values_say_what_is_allowed() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'laplace'"):
        make_schedule("laplase")
    with pytest.raises(ConfigError, match=r"b: -1 was given.*greater than 0"):
        make_schedule("laplace", b=-1)


def test_numbers_are_not_looked_up_in_a_torch_that_another_thread_is_importing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))  # as far as an import has come at its first line
    for value in (0.5, 1, [0.5, 1.0], np.array([0.5]), np.float64(0.5)):
        assert np.isfinite(np.asarray(make_schedule("cosine").log_prob(value))).all()
