"""Every sampler solves a problem whose solution is known, and guidance does what its formula says."""

from __future__ import annotations

import pytest
import torch

from trainables.sampling import KINDS
from trainables.sampling.guidance import Guidance, guided

MEAN, STD = 0.3, 0.5


def gaussian(x, sigma):
    return (STD**2 * x + sigma**2 * MEAN) / (STD**2 + sigma**2)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_samples_of_a_gaussian_are_exact_in_the_limit(name: str) -> None:
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)
    # The flow of a Gaussian is linear: x0 = mean + std * (x_T - mean)/sqrt(std^2 + sigma_T^2), with sigma_T -> infinity.
    exact = MEAN + STD * noise
    errors = [float((KINDS[name](num_steps=n).sample(gaussian, noise) - exact).abs().max()) for n in (16, 64, 256)]
    assert errors[2] < 5e-3 or (errors[0] > errors[1] > errors[2] and errors[2] < errors[0] / 3)  # what is left is sigma_T < infinity
    assert errors[2] < 2e-2


def test_second_order_samplers_beat_first_order_ones_at_equal_cost() -> None:
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)
    exact = MEAN + STD * (noise * 80 - MEAN) / (STD**2 + 80**2) ** 0.5
    error = {name: float((KINDS[name](num_steps=n).sample(gaussian, noise) - exact).abs().max())
             for name, n in {"ddim": 127, "heun": 64, "dpm_solver": 127}.items()}
    assert KINDS["heun"](num_steps=64).evaluations == KINDS["ddim"](num_steps=127).evaluations == 127
    assert error["heun"] < error["ddim"] / 3 and error["dpm_solver"] < error["ddim"] / 3


class _Constant:
    def __init__(self, labelled: float, unlabelled: float) -> None:
        self.labelled, self.unlabelled = labelled, unlabelled

    def denoise(self, x, sigma, labels):
        return torch.full_like(x, self.unlabelled if labels is None else self.labelled)


@pytest.mark.parametrize(("settings", "expected"), [
    (Guidance(), 1.0), (Guidance(weight=2.0), 1.0 + (1.0 - 0.25)), (Guidance(weight=0.0), 0.25),
    (Guidance(weight=3.0, by="weaker"), 0.5 + 3 * 0.5), (Guidance(weight=2.0, sigma_low=2.0), 1.0),
    (Guidance(weight=2.0, sigma_high=0.5), 1.0), (Guidance(weight=2.0, sigma_low=0.5, sigma_high=1.0), 1.75),
])
def test_guidance_extrapolates_from_its_guide_within_its_interval(settings: Guidance, expected: float) -> None:
    denoise = guided(settings, _Constant(1.0, 0.25), torch.ones(1, 4), _Constant(0.5, 9.0))
    assert float(denoise(torch.zeros(1), torch.tensor(1.0))) == pytest.approx(expected)


def test_impossible_guidance_is_refused() -> None:
    with pytest.raises(ValueError, match="sigma_low must be below"):
        Guidance(sigma_low=2, sigma_high=1)
    with pytest.raises(ValueError, match="needs the weaker network"):
        guided(Guidance(weight=2, by="weaker"), _Constant(1, 1), None)
