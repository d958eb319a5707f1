"""Every sampler solves a problem whose solution is known, and guidance does what its formula says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from trainables.errors import ConfigError
from trainables.randomness import normal
from trainables.recipe import make_recipe
from trainables.sampling import KINDS
from trainables.sampling.ddim import Ddim
from trainables.sampling.ddpm import Ddpm
from trainables.sampling.guidance import Guidance, guided
from trainables.sampling.heun import Heun

MEAN, STD = 0.3, 0.5


def gaussian(x, sigma):
    return (STD**2 * x + sigma**2 * MEAN) / (STD**2 + sigma**2)


def fresh(seed: int, like: Tensor):
    return lambda step: normal(seed, f"step {step}", 0, len(like), like.shape[1:]).to(like)


@pytest.mark.parametrize("name", sorted(name for name, kind in KINDS.items() if not kind().stochastic))
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


@pytest.mark.parametrize("settings", [
    *({"kind": kind} for kind in sorted(KINDS)), {"kind": "heun", "churn": 10, "churn_max": 50, "sigma_max": 40}])
@pytest.mark.parametrize("steps", [1, 5])
def test_levels_are_those_at_which_the_denoiser_is_called(settings: dict, steps: int) -> None:
    sampler = make_recipe({"evaluation": {"sampler": {**settings, "num_steps": steps}}}).evaluation.sampler
    called: list[float] = []

    def denoise(x, sigma):
        called.append(float(sigma))
        return gaussian(x, sigma)

    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    sampler.sample(denoise, noise, fresh(0, noise))
    np.testing.assert_allclose(sampler.levels, called, rtol=1e-12)
    assert sampler.evaluations == len(called)


@pytest.mark.parametrize(("sampler", "bias"), [
    (Ddpm(num_steps=100), 0.07), (Ddpm(num_steps=400), 0.0175), (Heun(num_steps=100, churn=40), 0.01)])
def test_stochastic_samplers_give_the_law_of_the_data_and_not_one_path(sampler, bias: float) -> None:
    """The bias of ancestral sampling falls as 1/steps, because a step's plug-in posterior is narrower than the true one."""
    count = 4_000
    noise = normal(0, "start", 0, count, (1,)).double()
    noise = (noise - noise.mean()) / noise.std()
    images = sampler.sample(gaussian, noise, fresh(1, noise))
    assert float(images.mean()) == pytest.approx(MEAN, abs=4 * STD / count**0.5)
    assert float(images.std()) == pytest.approx(STD, rel=bias + 4 / (2 * count) ** 0.5)
    path = MEAN + STD * noise  # of the deterministic flow
    assert float(torch.corrcoef(torch.cat([images, path], dim=1).T)[0, 1]) < 0.95
    other = sampler.sample(gaussian, noise, fresh(2, noise))
    assert float((other - images).abs().mean()) > 0.05 * STD


def test_ancestral_steps_have_the_variance_of_the_posterior() -> None:
    """With a denoiser that knows nothing, D = 0, the variance of a step is what the forward process leaves at its level."""
    noise = normal(0, "start", 0, 50_000, (1,)).double()
    seen: list[float] = []

    def zero(x, sigma):
        seen.append(float(x.std()) / float(sigma))
        return torch.zeros_like(x)

    Ddpm(num_steps=10).sample(zero, noise, fresh(1, noise))
    np.testing.assert_allclose(seen, np.ones(10), rtol=0.02)


def test_ancestral_sampling_without_noise_is_ddim() -> None:
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    still = Ddpm(num_steps=20, eta=1e-9).sample(gaussian, noise, fresh(0, noise))
    np.testing.assert_allclose(still, Ddim(num_steps=20).sample(gaussian, noise), rtol=1e-6)


def test_a_stochastic_sampler_without_noise_is_an_error() -> None:
    for sampler in (Ddpm(), Heun(churn=1)):
        with pytest.raises(ValueError, match="needs fresh noise"):
            sampler.sample(gaussian, torch.zeros(2, 1))


@pytest.mark.parametrize(("settings", "message"), [
    ({"sigma_min": 80.0}, "sigma_min must be below sigma_max, and 80 is not below 80"),
    ({"kind": "ddim", "sigma_min": 2, "sigma_max": 1}, "2 is not below 1"),
    ({"churn": 5, "churn_min": 100}, r"churn = 5 would have no effect: none of the 32 noise levels, 80 to 0\.002, lies between"),
    ({"churn": 5, "churn_min": 2, "churn_max": 1}, "would have no effect"),
    ({"kind": "ddpm", "eta": 0}, "greater than 0"),
])
def test_settings_that_could_not_be_followed_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_recipe({"evaluation": {"sampler": {"kind": "heun", **settings}}})


class _Constant:
    def __init__(self, labelled: float, unlabelled: float) -> None:
        self.labelled, self.unlabelled = labelled, unlabelled

    def denoise(self, x, sigma, labels):
        return torch.full_like(x, self.unlabelled if labels is None else self.labelled)


@pytest.mark.parametrize(("settings", "expected"), [
    (Guidance(), 1.0), (Guidance(weight=2.0), 1.0 + (1.0 - 0.25)), (Guidance(weight=0.0), 0.25),
    (Guidance(weight=3.0, by="weaker"), 0.5 + 3 * 0.5), (Guidance(weight=3.0, by="network"), 0.5 + 3 * 0.5),
    (Guidance(weight=2.0, sigma_low=2.0), 1.0),
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
    with pytest.raises(ValueError, match="needs the weaker network"):
        guided(Guidance(weight=2, by="network"), _Constant(1, 1), None)
