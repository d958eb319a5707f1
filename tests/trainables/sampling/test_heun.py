"""Heun's sampler against the reference on analytic denoisers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainables.errors import ConfigError
from trainables.sampling import heun_sigma_steps
from trainables.sampling.heun import Heun


def test_noise_levels_equal_the_reference(golden_edm2) -> None:
    for case in golden_edm2["heun_sigma_steps"]:
        ours = heun_sigma_steps(case["num_steps"], case["sigma_min"], case["sigma_max"], case["rho"])
        np.testing.assert_allclose(ours, case["t"], rtol=1e-12)
        assert Heun(num_steps=case["num_steps"]).evaluations == case["nfe"]


def test_samples_of_a_gaussian_equal_the_reference(golden_edm2) -> None:
    def gaussian(mean: float, std: float):
        return lambda x, s: (std**2 * x + s**2 * mean) / (std**2 + s**2)

    main, guide = gaussian(0.3, 0.5), gaussian(0.0, 0.8)
    for case in golden_edm2["heun_sampler_gaussian"]:
        w = case["guidance"]
        noise = torch.tensor(case["noise"], dtype=torch.float64)
        out = Heun(num_steps=case["num_steps"]).sample(lambda x, s, w=w: guide(x, s) + w * (main(x, s) - guide(x, s)), noise)
        np.testing.assert_allclose(out, case["x0"], rtol=1e-9)


def test_churn_equals_the_reference(golden_edm2) -> None:
    case = golden_edm2["heun_sampler_churn_const_eps0p5"]
    sampler = Heun(num_steps=case["num_steps"], churn=case["S_churn"], churn_min=case["S_min"], churn_max=case["S_max"],
                   churn_noise=case["S_noise"])
    noise = torch.tensor(case["noise"], dtype=torch.float64)
    out = sampler.sample(lambda x, s: (0.5**2 * x + s**2 * 0.3) / (0.5**2 + s**2), noise, lambda _: torch.full_like(noise, 0.5))
    np.testing.assert_allclose(out, case["x0"], rtol=1e-9)


@pytest.mark.parametrize("wrong", [{"num_steps": 0}, {"sigma_min": 0.0}, {"sigma_min": 90.0}, {"rho": 0.0}])
def test_impossible_steps_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="sampler steps"):
        heun_sigma_steps(**{"num_steps": 8, **wrong})
