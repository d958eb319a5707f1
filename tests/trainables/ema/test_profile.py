"""Power-function profiles against the reference's values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.ema import gamma_to_sigma_rel, power_function_beta, power_function_correlation, sigma_rel_to_gamma
from trainables.errors import ConfigError


def test_widths_and_exponents_equal_the_reference(golden_edm2) -> None:
    for case in golden_edm2["sigma_rel_to_gamma"]:
        assert sigma_rel_to_gamma(case["sigma_rel"]) == pytest.approx(case["gamma"], rel=1e-13)
    for case in golden_edm2["gamma_to_sigma_rel"]:
        assert gamma_to_sigma_rel(case["gamma"]) == pytest.approx(case["sigma_rel"], rel=1e-14)
    for case in golden_edm2["power_function_beta"]:
        assert power_function_beta(case["sigma_rel"], case["t_next"], case["t_delta"]) == pytest.approx(case["beta"], abs=1e-14)
    for case in golden_edm2["power_function_correlation"]:
        a, b = sigma_rel_to_gamma(case["sigma_a"]), sigma_rel_to_gamma(case["sigma_b"])
        assert power_function_correlation(case["t_a"], a, case["t_b"], b) == pytest.approx(case["value"], rel=1e-12)


@given(st.floats(0.001, 0.2886))
def test_round_trip(sigma_rel: float) -> None:
    assert gamma_to_sigma_rel(sigma_rel_to_gamma(sigma_rel)) == pytest.approx(sigma_rel, rel=1e-12)


@pytest.mark.parametrize("width", [0.0, -0.1, 0.2887, 0.5, float("nan"), [0.1, 0.3]])
def test_impossible_widths_are_refused(width) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1/sqrt"):
        sigma_rel_to_gamma(width)


def test_arrays_keep_their_shape() -> None:
    widths = np.array([[0.05, 0.1], [0.15, 0.2]])
    assert sigma_rel_to_gamma(widths).shape == (2, 2)
    assert power_function_beta(0.1, np.arange(1, 5), 1).shape == (4,)
    assert isinstance(sigma_rel_to_gamma(0.1), float)
