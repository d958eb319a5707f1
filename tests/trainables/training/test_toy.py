"""Two-dimensional problems whose optimal denoiser is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from trainables.log_snr import alpha_sigma
from trainables.networks.modules.denoiser import Denoiser, per_image
from trainables.optimisers.arithmetic import Arithmetic
from trainables.randomness import normal
from trainables.recipe import Recipe
from trainables.schedules import KINDS as SCHEDULES
from trainables.schedules import make_schedule
from trainables.targets import KINDS as TARGETS
from trainables.targets import make_target
from trainables.timesteps.adaptive import Adaptive
from trainables.timesteps.independent import Independent
from trainables.training.batch import Batch
from trainables.training.beside import Step, start_beside
from trainables.training.ranks import Ranks
from trainables.weightings import KINDS as WEIGHTINGS
from trainables.weightings import Weighting

VARIANCES = torch.tensor([1.44, 0.36])


class GaussianDenoiser(nn.Module):
    """Knows that the data are Gaussian, but not their variances: the optimum is y = alpha v z / (alpha^2 v + sigma^2)."""

    def __init__(self) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(2))

    def output(self, noisy: torch.Tensor, log_snr: torch.Tensor, target) -> torch.Tensor:
        alpha, sigma = alpha_sigma(per_image(log_snr, noisy))
        v = self.log_variance.exp()[:, None, None]
        clean = alpha * v * noisy / (alpha**2 * v + sigma**2)
        c, d = target.to_clean(alpha, sigma)
        return (clean - c * noisy) / d


@pytest.mark.parametrize("target", sorted(TARGETS))
@pytest.mark.parametrize("weighting", sorted(WEIGHTINGS))
def test_every_target_weighting_and_schedule_reaches_the_optimal_denoiser(target: str, weighting: str) -> None:
    weight: Weighting = WEIGHTINGS[weighting]()
    wanted = make_target(target)
    for name in sorted(SCHEDULES):
        schedule = make_schedule(name, log_snr_min=-5, log_snr_max=5)
        model = GaussianDenoiser()
        denoiser = Denoiser(nn.Identity(), wanted)
        optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
        steps, batch = 100, 1024
        average = torch.zeros(2)
        for step in range(steps):
            log_snr = torch.from_numpy(schedule.sample(batch, step, stratified=True)).float()
            clean = VARIANCES.sqrt()[:, None, None] * normal(0, "toy data", step * batch, batch, (2, 1, 1))
            noisy, goal = denoiser.corrupt(clean, normal(0, "toy noise", step * batch, batch, (2, 1, 1)), log_snr)
            error = (model.output(noisy, log_snr, wanted) - goal).square().flatten(1).sum(1)
            loss = (weight.weight(log_snr, wanted) * error).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            optimiser.param_groups[0]["lr"] = 0.1 * (1 - step / steps)
            if step >= steps // 2:
                average += model.log_variance.detach() / (steps - steps // 2)
        error = (average - VARIANCES.log()).abs().max().item()
        assert error < 0.1, f"{target}, {weighting}, {name}: variances off by {error:.0%}"


class PerLevel(nn.Module):
    """One coefficient per noise level; all but two levels begin at their optimum."""

    def __init__(self, grid: np.ndarray, wrong: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("levels", torch.from_numpy(grid).float())
        best = alpha_sigma(self.levels)[0]  # unit-variance data: E[y|z] = alpha z
        best = best.clone()
        best[list(wrong)] -= 2.0
        self.coefficients = nn.Parameter(best)

    def forward(self, z: torch.Tensor, log_snr: torch.Tensor, labels=None) -> torch.Tensor:
        level = (self.levels[None] - log_snr[:, None]).abs().argmin(1)
        return self.coefficients[level][:, None, None, None] * z


class PerLevelDenoiser(Denoiser):
    def forward(self, z, log_snr, labels=None):
        return self.network(z, log_snr)


def excess_after_training(policy, wrong: tuple[int, ...], seed: int, steps: int = 600, batch: int = 32) -> float:
    """Squared distance of all coefficients from their optimum (8 at the start)."""
    schedule = make_schedule("cosine", log_snr_min=-6, log_snr_max=6)
    grid = np.asarray(schedule.from_uniform((np.arange(32) + 0.5) / 32))
    denoiser = PerLevelDenoiser(PerLevel(grid, wrong), make_target("x0"))
    best = alpha_sigma(denoiser.network.levels)[0]
    draws = policy.start(schedule, seed, batch)
    beside = start_beside(Recipe(timesteps=policy), draws)
    optimiser = torch.optim.SGD(denoiser.parameters(), lr=0.05)
    for step in range(steps):
        first = step * batch
        clean = normal(1, "data", first, batch, (2, 1, 1))
        levels, _ = draws.draw(first, batch, clean)
        log_snr = torch.from_numpy(levels).float()
        batch_now = Batch(first, clean, torch.zeros_like(clean), None, log_snr, torch.ones_like(log_snr), torch.ones_like(log_snr))
        after = [b.before_step(Step(denoiser, batch_now, step, Ranks(), Arithmetic())) for b in beside.values()]
        noisy, goal = denoiser.corrupt(clean, normal(1, "noise", first, batch, (2, 1, 1)), log_snr)
        loss = (denoiser(noisy, log_snr) - goal).square().flatten(1).mean(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        for learn in filter(None, after):
            learn()
    return float((denoiser.network.coefficients.detach() - best).square().sum())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_adaptive_sampling_beats_uniform_where_few_levels_matter(seed: int) -> None:
    wrong = (1, 2)
    adaptive = excess_after_training(Adaptive(levels=32, update_every=5), wrong, seed)
    uniform = excess_after_training(Independent(), wrong, seed)
    assert adaptive < uniform, f"adaptive {adaptive:.4f}, uniform {uniform:.4f}"
