"""The coordinate log SNR and what it is converted to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.log_snr import alpha_sigma, as_array, from_edm_sigma, noise_conditioning, softplus, to_decibel, to_edm_sigma, to_flow_time


@given(st.floats(-30, 30))
def test_coordinates_agree(log_snr: float) -> None:
    alpha, sigma = alpha_sigma(log_snr)
    assert alpha**2 + sigma**2 == pytest.approx(1, rel=1e-12)
    assert from_edm_sigma(to_edm_sigma(log_snr)) == pytest.approx(log_snr, abs=1e-12)
    assert to_decibel(log_snr) == pytest.approx(20 * np.log10(alpha / sigma), rel=1e-9, abs=1e-9)
    assert to_flow_time(log_snr) == pytest.approx(sigma / (alpha + sigma), rel=1e-12)


def test_conversions_are_those_of_the_published_formulas() -> None:
    log_snr = np.array([-6.0, 0.0, 3.0])
    snr = np.exp(log_snr)
    for data in (0.5, 1.0, 0.2):
        np.testing.assert_allclose(to_edm_sigma(log_snr, data), data / np.sqrt(snr), rtol=1e-12)
        np.testing.assert_allclose(from_edm_sigma(data / np.sqrt(snr), data), log_snr, atol=1e-12)
        np.testing.assert_allclose(noise_conditioning(log_snr, data), np.log(data / np.sqrt(snr)) / 4, rtol=1e-12)
    assert to_edm_sigma(0.0) == 0.5 and from_edm_sigma(0.5) == 0 and noise_conditioning(0.0) == pytest.approx(np.log(0.5) / 4)
    np.testing.assert_allclose(to_decibel(log_snr), 10 * np.log10(snr), atol=1e-12)
    np.testing.assert_allclose(to_flow_time(log_snr), 1 / (1 + np.sqrt(snr)), rtol=1e-12)
    np.testing.assert_allclose(alpha_sigma(log_snr), np.sqrt([snr / (1 + snr), 1 / (1 + snr)]), rtol=1e-12)
    with np.errstate(divide="ignore"):
        assert from_edm_sigma(0.0) == np.inf


def test_softplus_keeps_the_digits_of_both_tails() -> None:
    np.testing.assert_allclose(softplus(np.array([-50.0, 0.0, 50.0, 800.0])), [np.exp(-50.0), np.log(2), 50.0, 800.0], rtol=1e-12)


@pytest.mark.parametrize("value", [2, 2.0, [2.0], (2.0,)])
def test_numbers_and_lists_become_float64_arrays(value: object) -> None:
    _, array = as_array(value)
    assert isinstance(array, np.ndarray) and array.dtype == np.float64 and float(array.reshape(-1)[0]) == 2


@pytest.mark.parametrize("value", [np.ones(3, np.float32), np.float64(2.0), torch.ones(3)])
def test_arrays_stay_what_they_are(value: object) -> None:
    assert as_array(value)[1] is value
