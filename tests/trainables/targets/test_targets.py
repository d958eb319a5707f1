"""Every target: network output and clean image determine each other, and losses convert by the stated Jacobian."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.log_snr import alpha_sigma, from_edm_sigma, noise_conditioning
from trainables.targets import KINDS, make_target

finite = st.floats(-3, 3)


@pytest.mark.parametrize("name", sorted(KINDS))
@given(log_snr=st.floats(-12, 12), clean=finite, noise=finite, wrong=st.floats(-1, 1))
def test_round_trip_and_error_conversion(name: str, log_snr: float, clean: float, noise: float, wrong: float) -> None:
    target = make_target(name)
    alpha, sigma = alpha_sigma(log_snr)
    output, noisy = target.training_target(clean, noise, alpha, sigma), alpha * clean + sigma * noise
    scale = 1 + np.exp(max(-log_snr, 0) / 2)
    assert target.denoise(output, noisy, log_snr) == pytest.approx(clean, abs=1e-9 * scale)
    error = float(target.denoise(output + wrong, noisy, log_snr) - clean)
    assert error**2 == pytest.approx(wrong**2 * float(np.exp(target.log_jacobian(log_snr))), rel=1e-6, abs=1e-10 * scale)


def test_edm_coefficients_equal_the_reference(golden_edm2) -> None:
    values = golden_edm2["precond"]
    sigma, sd = np.array(values["sigma"]), values["sigma_data"]
    log_snr = from_edm_sigma(sigma, sd)
    alpha, _ = alpha_sigma(log_snr)
    np.testing.assert_allclose(noise_conditioning(log_snr, sd), values["c_noise"], rtol=1e-12)
    # x = z/c_in and D = sigma_data * y, so c_skip x = sigma_data alpha z and c_out F = sigma_data sigma F.
    skip, out = make_target("edm").to_clean(*alpha_sigma(log_snr))
    np.testing.assert_allclose(skip * sd * np.array(values["c_in"]), values["c_skip"], rtol=1e-12)
    np.testing.assert_allclose(out * sd, values["c_out"], rtol=1e-12)
    np.testing.assert_allclose(alpha / sd, values["c_in"], rtol=1e-12)


@pytest.mark.parametrize(("name", "of_clean_and_noise", "to_clean"), [
    ("x0", (1, 0), (0, 1)), ("eps", (0, 1), (1 / 0.6, -0.8 / 0.6)), ("v", (-0.8, 0.6), (0.6, -0.8)),
    ("edm", (0.8, -0.6), (0.6, 0.8)), ("flow", (-1, 1), (1 / 1.4, -0.8 / 1.4)),
])
def test_coefficients_are_the_published_ones(name: str, of_clean_and_noise: tuple, to_clean: tuple) -> None:
    """At alpha = 0.6, sigma = 0.8, where y is clean, eps noise and z = 0.6 y + 0.8 eps."""
    target, alpha, sigma = make_target(name), np.array(0.6), np.array(0.8)
    np.testing.assert_allclose(target.of_clean_and_noise(alpha, sigma), of_clean_and_noise, rtol=1e-12)
    np.testing.assert_allclose(target.to_clean(alpha, sigma), to_clean, rtol=1e-12)
    np.testing.assert_allclose(target.log_jacobian(np.log(0.36 / 0.64)), 2 * np.log(np.abs(to_clean[1])), rtol=1e-9, atol=1e-12)
    assert target.model_dump() == {"kind": name}
