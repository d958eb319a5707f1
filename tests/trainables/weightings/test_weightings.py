"""Every weighting against the public Min-SNR implementation, its formula, and the identities between targets."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import GOLDEN
from trainables.errors import ConfigError
from trainables.weightings import KINDS, loss_weight
from trainables.weightings.ugd import min_norm_weights

CASES = json.loads((GOLDEN / "loss_weights.json").read_text())["cases"]
NAMES = sorted(KINDS)
LOG_SNR = np.linspace(-18, 18, 73)
SNR = np.exp(LOG_SNR)
FORMULAS = {  # methods section 1, on the x0 loss
    "snr": ({}, SNR), "truncated_snr": ({}, np.maximum(SNR, 1)), "min_snr": ({"gamma": 5}, np.minimum(SNR, 5)),
    "max_snr": ({"gamma": 5}, np.maximum(SNR, 5)), "soft_min_snr": ({"gamma": 3}, SNR * 3 / (SNR + 3)),
    "p2": ({"k": 2, "gamma": 0.7}, SNR / (2 + SNR) ** 0.7), "edm": ({}, SNR + 1),
    "sigmoid": ({"bias": 1.5}, SNR / (1 + np.exp(LOG_SNR - 1.5))), "constant": ({"on": "eps"}, SNR),
    "ugd": ({}, None),  # before its first estimate: constant on the target
    "uncertainty": ({"base": {"kind": "min_snr", "gamma": 5}}, np.minimum(SNR, 5)),  # u = 0
}
PER_TARGET = {"x0": 1.0, "eps": 1 / SNR, "v": 1 / (SNR + 1), "edm": 1 / (SNR + 1), "flow": 1 / (1 + np.sqrt(SNR)) ** 2}


@pytest.mark.parametrize("target", PER_TARGET)
@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str, target: str) -> None:
    """What holds for a new weighting too, which no list here knows."""
    weight = loss_weight(name, LOG_SNR, target)
    assert weight.shape == LOG_SNR.shape and weight.dtype == LOG_SNR.dtype
    assert np.isfinite(weight).all() and (weight >= 0).all() and (weight > 0).any()
    tensor = loss_weight(name, torch.tensor(LOG_SNR), target)
    assert isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float64
    np.testing.assert_allclose(tensor, weight, rtol=1e-12)
    np.testing.assert_allclose(loss_weight(name, torch.tensor(LOG_SNR).float(), target), weight, rtol=1e-4)
    np.testing.assert_allclose(loss_weight(name, LOG_SNR[3], target), weight[3])


@pytest.mark.parametrize("target", PER_TARGET)
@pytest.mark.parametrize("name", FORMULAS)
def test_equals_its_formula_on_every_target(name: str, target: str) -> None:
    params, expected = FORMULAS[name]
    expected = np.ones_like(SNR) if expected is None else expected * PER_TARGET[target]
    np.testing.assert_allclose(loss_weight(name, LOG_SNR, target, **params), expected, rtol=1e-12)
    np.testing.assert_allclose(loss_weight(name, torch.tensor(LOG_SNR), target, **params), expected, rtol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['schedule']}-{c['target']}-{c['weighting']}")
def test_equals_the_public_implementation(case: dict) -> None:
    # The reference works from float32 alpha and sigma: its log SNR and weights agree with each other to 2e-7 only.
    name, _, gamma = case["weighting"].rpartition("_")
    known = {"trunc": "truncated_snr", "": case["weighting"]}.get(name, name)
    params = {"gamma": float(gamma)} if known in ("min_snr", "max_snr") else {}
    weight = loss_weight(known, np.array(case["log_snr"]), case["target"], **params)
    np.testing.assert_allclose(weight, case["weight"], rtol=5e-7)


@pytest.mark.parametrize("target", PER_TARGET)
def test_constant_is_constant_on_the_network_s_own_target(target: str) -> None:
    np.testing.assert_allclose(loss_weight("constant", LOG_SNR, target), 1.0, rtol=1e-12)


@given(st.floats(-40, 40), st.floats(0.01, 1e4))
def test_min_snr_clips_the_eps_weight_at_one(log_snr: float, gamma: float) -> None:
    assert loss_weight("min_snr", log_snr, "eps", gamma=gamma) == pytest.approx(min(1.0, gamma * math.exp(-log_snr)), rel=1e-9)


def test_limits_at_zero_and_infinite_snr() -> None:
    ends = np.array([-np.inf, np.inf])
    np.testing.assert_allclose(loss_weight("min_snr", ends, "v", gamma=5), [0, 0], atol=1e-300)  # not 1 at zero terminal SNR
    np.testing.assert_allclose(loss_weight("min_snr", ends, "eps", gamma=5), [1, 0], atol=1e-300)


def test_uncertainty_explains_a_wrong_base() -> None:
    with pytest.raises(ConfigError, match=r"base.*Did you mean 'min_snr'"):
        loss_weight("uncertainty", 0.0, "eps", base="minsnr")
    with pytest.raises(ConfigError, match="cannot stand on itself"):
        loss_weight("uncertainty", 0.0, "eps", base="uncertainty")


def test_min_norm_weights_solve_their_problem() -> None:
    # Two orthogonal gradients of norms 1 and 3: weights inversely proportional to the squared norms.
    np.testing.assert_allclose(min_norm_weights(np.diag([1.0, 9.0]), 1e-9), [0.9, 0.1], atol=1e-6)
    # Opposed gradients of equal norm cancel; a dominating one is left out.
    np.testing.assert_allclose(min_norm_weights(np.array([[1.0, -1.0], [-1.0, 1.0]]), 1e-9), [0.5, 0.5], atol=1e-6)
    np.testing.assert_allclose(min_norm_weights(np.array([[1.0, 2.0], [2.0, 9.0]]), 1e-9), [1.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(min_norm_weights(np.zeros((3, 3)), 0.1), [1 / 3] * 3)


@pytest.mark.parametrize("ridge", [1e-9, 0.1, 1e3])
def test_min_norm_weights_of_unequal_shares_do_not_depend_on_how_buckets_are_cut(ridge: float) -> None:
    gram, shares = np.array([[2.0, -0.3, 0.1], [-0.3, 1.0, 0.4], [0.1, 0.4, 3.0]]), np.array([0.7, 0.2, 0.1])
    whole = min_norm_weights(gram, 3 * ridge, shares)
    cut = [0, 0, 1, 2, 2, 2]  # the same gradients in more buckets
    parts = min_norm_weights(gram[np.ix_(cut, cut)], 6 * ridge, np.array([0.5, 0.2, 0.2, 0.05, 0.03, 0.02]))
    np.testing.assert_allclose([parts[:2].sum(), parts[2], parts[3:].sum()], whole, atol=1e-6)
    if ridge == 1e3:
        np.testing.assert_allclose(whole / shares, 1.0, atol=1e-2)


def test_min_norm_weights_take_a_negative_squared_norm_for_zero_and_keep_the_ridge() -> None:
    """A bucket's unbiased estimate may be below 0; the penalty still holds its factor."""
    shares, ridge = np.array([0.2, 0.3, 0.5]), 0.1
    expected = 1 / (np.array([0.0, 2.0, 3.0]) + ridge * (0.3 * 2 + 0.5 * 3) / (3 * shares))
    np.testing.assert_allclose(min_norm_weights(np.diag([-1.0, 2.0, 3.0]), ridge, shares), expected / expected.sum(), rtol=1e-9)


def test_gamma_may_be_an_integer_tensor() -> None:
    assert loss_weight("min_snr", np.array(0.0), "x0", gamma=torch.tensor(5)) == 1.0


@pytest.mark.parametrize(("gamma", "message"), [(0, "greater than 0"), (float("nan"), "finite"), (float("inf"), "use kind: snr")])
def test_impossible_gamma_is_explained(gamma: float, message: str) -> None:
    with pytest.raises(ConfigError, match=f"gamma.*{message}"):
        loss_weight("min_snr", 0.0, "eps", gamma=gamma)


DEFAULTS = {  # the papers' values; sigmoid's has no single published one
    "constant": {"on": "target"}, "snr": {}, "truncated_snr": {}, "edm": {}, "min_snr": {"gamma": 5.0}, "max_snr": {"gamma": 5.0},
    "soft_min_snr": {"gamma": 5.0}, "p2": {"k": 1.0, "gamma": 1.0}, "sigmoid": {"bias": -1.0},
    "ugd": {"every": 100, "decay": 0.9, "ridge": 0.1}, "uncertainty": {"base": {"kind": "edm"}},
}


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_the_published_ones(name: str) -> None:
    assert KINDS[name]().model_dump() == {"kind": name, **DEFAULTS[name]}


@pytest.mark.parametrize(("name", "params", "expected"), [
    ("p2", {}, SNR / (1 + SNR)), ("p2", {"k": 0.3, "gamma": 0.5}, SNR / np.sqrt(0.3 + SNR)),
    ("p2", {"k": 7.0, "gamma": 2.0}, SNR / (7 + SNR) ** 2), ("p2", {"k": 7.0, "gamma": 0.0}, SNR),
    ("sigmoid", {}, SNR / (1 + np.exp(1.0) * SNR)), ("sigmoid", {"bias": -3.0}, SNR / (1 + np.exp(3.0) * SNR)),
    ("sigmoid", {"bias": 2.5}, SNR / (1 + np.exp(-2.5) * SNR)),
    ("min_snr", {}, np.minimum(SNR, 5)), ("min_snr", {"gamma": 20.0}, np.minimum(SNR, 20)),
    ("min_snr", {"gamma": 0.5}, np.minimum(SNR, 0.5)),
    ("max_snr", {}, np.maximum(SNR, 5)), ("max_snr", {"gamma": 0.5}, np.maximum(SNR, 0.5)),
    ("soft_min_snr", {}, SNR * 5 / (SNR + 5)), ("soft_min_snr", {"gamma": 0.5}, SNR * 0.5 / (SNR + 0.5)),
    ("constant", {"on": "x0"}, np.ones_like(SNR)), ("constant", {"on": "v"}, SNR + 1), ("constant", {"on": "edm"}, SNR + 1),
    ("constant", {"on": "flow"}, (1 + np.sqrt(SNR)) ** 2),
    ("uncertainty", {}, SNR + 1), ("uncertainty", {"base": {"kind": "p2", "k": 3.0, "gamma": 1.0}}, SNR / (3 + SNR)),
])
def test_parameters_are_those_of_the_published_formula(name: str, params: dict, expected: np.ndarray) -> None:
    np.testing.assert_allclose(loss_weight(name, LOG_SNR, "x0", **params), expected, rtol=1e-12)


@pytest.mark.parametrize("ridge", [0.01, 0.5, 3.0])
def test_the_ridge_is_in_units_of_the_mean_squared_gradient_norm(ridge: float) -> None:
    """Orthogonal gradients: weights go with 1/(|g|^2 + ridge mean |g|^2)."""
    for unit in (1e-3, 1.0, 40.0):
        expected = 1 / (np.array([1.0, 4.0, 7.0]) + ridge * 4)
        np.testing.assert_allclose(min_norm_weights(unit * np.diag([1.0, 4.0, 7.0]), ridge), expected / expected.sum(), rtol=1e-9)


RANGES = {  # low, high, whether in logarithms
    "min_snr.gamma": (1.0, 20.0, True), "max_snr.gamma": (1.0, 20.0, True), "soft_min_snr.gamma": (1.0, 20.0, True),
    "p2.gamma": (0.0, 2.0, False), "sigmoid.bias": (-5.0, 3.0, False),
}


def test_ranges_that_are_searched_by_default() -> None:
    found = {
        f"{name}.{field}": tuple(info.json_schema_extra["search"].values())
        for name, kind in KINDS.items() for field, info in kind.model_fields.items() if info.json_schema_extra
    }
    assert found == RANGES


@pytest.mark.parametrize(("name", "field", "allowed", "refused"), [
    ("ugd", "every", (1,), (0,)), ("ugd", "decay", (0.0, 0.999), (-0.001, 1.0)), ("ugd", "ridge", (1e-9,), (0.0,)),
    ("p2", "k", (1e-9,), (0.0,)), ("p2", "gamma", (0.0,), (-0.001,)), ("min_snr", "gamma", (1e-9,), (0.0,)),
])
def test_edges_of_what_is_allowed(name: str, field: str, allowed: tuple, refused: tuple) -> None:
    for value in allowed:
        assert getattr(KINDS[name](**{field: value}), field) == value
    for value in refused:
        with pytest.raises(ValueError, match=field):
            KINDS[name](**{field: value})
