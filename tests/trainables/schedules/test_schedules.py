"""Every schedule against 40-digit reference values and one shared contract."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from statistics import NormalDist

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


DEFAULTS = {  # the papers' values
    "cosine": {}, "cosine_shifted": {"mu": 0.0}, "cosine_scaled": {"s": 1.0}, "laplace": {"mu": 0.0, "b": 0.5},
    "cauchy": {"mu": 0.0, "gamma": 1.0}, "edm_lognormal": {"P_mean": -1.2, "P_std": 1.2}, "logit_normal": {"mean": 0.0, "std": 1.0},
    "ddpm_linear": {"steps": 1000, "beta_start": 1e-4, "beta_end": 0.02},
}


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_the_published_ones(name: str) -> None:
    assert make_schedule(name).model_dump() == {"kind": name, "log_snr_min": -20.0, "log_snr_max": 20.0, **DEFAULTS[name]}


SHARES = np.array([0.02, 0.3, 0.5, 0.85])
Z = np.array([NormalDist().inv_cdf(1 - share) for share in SHARES])
COSINE = -2 * np.log(np.tan(np.pi * SHARES / 2))
CAUCHY = np.tan(np.pi * (0.5 - SHARES))
LAPLACE = np.sign(0.5 - SHARES) * -np.log(1 - 2 * np.abs(SHARES - 0.5))


@pytest.mark.parametrize(("name", "params", "log_snr"), [
    ("cosine_shifted", {"mu": 2.0}, 2 + COSINE), ("cosine_shifted", {"mu": -0.7}, -0.7 + COSINE),
    ("cosine_scaled", {"s": 4.0}, COSINE / 4), ("cosine_scaled", {"s": 0.6}, COSINE / 0.6),
    ("laplace", {"mu": -2.0, "b": 3.0}, -2 + 3 * LAPLACE), ("laplace", {}, LAPLACE / 2),
    ("cauchy", {"mu": 1.5, "gamma": 0.4}, 1.5 + 0.4 * CAUCHY), ("cauchy", {"mu": -1.0, "gamma": 3.0}, -1 + 3 * CAUCHY),
    ("edm_lognormal", {}, 2.4 + 2.4 * Z), ("edm_lognormal", {"P_mean": -0.8, "P_std": 1.6}, 1.6 + 3.2 * Z),
    ("edm_lognormal", {"P_mean": 0.3, "P_std": 0.7}, -0.6 + 1.4 * Z),
    ("logit_normal", {}, 2 * Z), ("logit_normal", {"mean": 0.5, "std": 0.6}, -1 + 1.2 * Z),
    ("logit_normal", {"mean": -1.2, "std": 1.8}, 2.4 + 3.6 * Z),
])
def test_log_snr_of_a_time_is_the_published_formula(name: str, params: dict, log_snr: np.ndarray) -> None:
    schedule = make_schedule(name, **params)
    np.testing.assert_allclose(schedule.log_snr(SHARES), log_snr, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(schedule.survival(log_snr), SHARES, rtol=1e-12)
    step = 1e-4  # the density, by a central difference of the formula's own inverse
    slope = (schedule.cdf(log_snr + step) - schedule.cdf(log_snr - step)) / (2 * step)
    smooth = np.abs(SHARES - 0.5) > 0.01  # Laplace has a corner in its middle
    np.testing.assert_allclose(np.exp(schedule.log_prob(log_snr))[smooth], slope[smooth], rtol=1e-5)


@pytest.mark.parametrize("betas", [(1000, 1e-4, 0.02), (50, 1e-3, 0.2), (2, 0.1, 0.1)])
def test_ddpm_steps_stand_in_the_middle_of_their_cells(betas: tuple) -> None:
    steps, start, end = betas
    schedule = make_schedule("ddpm_linear", steps=steps, beta_start=start, beta_end=end)
    alpha_bar, levels = 1.0, []
    for i in range(steps):
        alpha_bar *= 1 - (start + (end - start) * i / (steps - 1))
        levels.append(np.log(alpha_bar / (1 - alpha_bar)))
    times = (np.arange(steps) + 0.5) / steps
    np.testing.assert_allclose(schedule.log_snr(times), levels, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(schedule.survival(np.array(levels)), times, atol=1e-9)
    middles = (np.array(levels[1:]) + levels[:-1]) / 2
    np.testing.assert_allclose(schedule.log_snr(np.arange(1, steps) / steps), middles, rtol=1e-9, atol=1e-9)
    edges = schedule.log_snr(np.array([1e-12, 1 - 1e-12]))  # half a cell beyond the outer steps, on the same lines
    np.testing.assert_allclose(edges, [1.5 * levels[0] - 0.5 * levels[1], 1.5 * levels[-1] - 0.5 * levels[-2]], rtol=1e-6)
    np.testing.assert_allclose(np.exp(schedule.log_prob(middles)), -1 / (steps * np.diff(levels)), rtol=1e-6)
    for beyond in (0.1, 3.0, 40.0, 1000.0):
        outside = edges + np.array([beyond, -beyond])
        assert np.isneginf(schedule.log_prob(outside)).all()
        assert schedule.cdf(outside).tolist() == [1.0, 0.0] and schedule.survival(outside).tolist() == [0.0, 1.0]


RANGES = {  # low, high, whether in logarithms
    "cosine_shifted.mu": (-3.0, 3.0, False), "cosine_scaled.s": (0.5, 4.0, True), "laplace.mu": (-3.0, 3.0, False),
    "laplace.b": (0.25, 3.0, True), "cauchy.mu": (-3.0, 3.0, False), "cauchy.gamma": (0.25, 4.0, True),
    "edm_lognormal.P_mean": (-2.5, 0.5, False), "edm_lognormal.P_std": (0.6, 2.0, False),
    "logit_normal.mean": (-1.5, 1.5, False), "logit_normal.std": (0.4, 2.0, False),
}


def test_ranges_that_are_searched_by_default() -> None:
    found = {
        f"{name}.{field}": tuple(info.json_schema_extra["search"].values())
        for name, kind in KINDS.items() for field, info in kind.model_fields.items() if info.json_schema_extra
    }
    assert found == RANGES


@pytest.mark.parametrize(("name", "field", "allowed", "refused"), [
    ("cosine_scaled", "s", (1e-9,), (0.0,)), ("laplace", "b", (1e-9,), (0.0,)), ("cauchy", "gamma", (1e-9,), (0.0,)),
    ("edm_lognormal", "P_std", (1e-9,), (0.0,)), ("logit_normal", "std", (1e-9,), (0.0,)),
    ("ddpm_linear", "steps", (2, 100_000), (1, 100_001)), ("ddpm_linear", "beta_start", (1e-9, 0.02), (0.0, 1.0)),
    ("ddpm_linear", "beta_end", (1e-4, 0.999), (0.0, 9e-5, 1.0)), ("cosine", "log_snr_max", (-19.0,), (-20.0, -21.0)),
])
def test_edges_of_what_is_allowed(name: str, field: str, allowed: tuple, refused: tuple) -> None:
    for value in allowed:
        assert getattr(KINDS[name](**{field: value}), field) == value
    for value in refused:
        with pytest.raises(ValueError, match=field):
            KINDS[name](**{field: value})


WHILE_TORCH_IS_IMPORTED = """
import sys, types
import numpy as np
from trainables import schedules
from trainables.schedules.restricted import Levels, restricted
assert "torch" not in sys.modules
sys.modules["torch"] = types.ModuleType("torch")  # as another thread's import leaves it for a while
for kind, cls in schedules.KINDS.items():
    made = cls()
    for x in (0.5, np.float64(0.5), np.array([0.5, 1.0]), [0.5, 1.0]):
        made.cdf(x), made.survival(x), made.log_prob(x), made.icdf(np.asarray(x) / 2)
    assert 0 < restricted(made, Levels(low=-1.0, high=2.0)).mass < 1
print("ok")
"""


def test_numbers_and_numpy_arrays_do_not_look_at_a_torch_that_is_just_being_imported() -> None:
    ended = subprocess.run([sys.executable, "-c", WHILE_TORCH_IS_IMPORTED], capture_output=True, text=True)
    assert ended.stdout == "ok\n", ended.stderr
