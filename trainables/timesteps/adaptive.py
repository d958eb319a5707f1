"""Adaptive non-uniform timestep sampling (Kim et al. 2024, "Adaptive Non-uniform Timestep Sampling for Accelerating
Diffusion Model Training"): a policy per image, rewarded by how much a step lowers the variational bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from trainables.randomness import torch_seed, uniform
from trainables.schedules import Schedule
from trainables.timesteps.policy import Draws, TimestepPolicy

if TYPE_CHECKING:
    from torch import Tensor, nn


class Adaptive(TimestepPolicy):
    """t ~ Beta(a(x0), b(x0)) over the schedule's quantiles, learned by REINFORCE on the gain at a few telling levels."""

    kind: Literal["adaptive"] = "adaptive"
    levels: int = Field(1000, ge=8, le=10_000, description="noise levels T on a quantile grid of the schedule")
    discrete: bool = Field(True, description="round drawn times to the T levels; otherwise they are continuous")
    update_every: int = Field(40, ge=1, description="optimiser steps between two updates of the policy")
    chosen: int = Field(3, ge=1, description="levels whose gain is the reward")
    queue: int = Field(5, ge=3, description="gain vectors from which those levels are chosen; fewer than 3 tell nothing")
    entropy: float = Field(0.01, ge=0, description="weight of the policy's entropy in the reward")
    lr: float = Field(1e-2, gt=0, description="learning rate of the policy (Adam)")

    @model_validator(mode="after")
    def _chooses_among_its_levels(self) -> Adaptive:
        if self.chosen > self.levels:
            raise ValueError(f"chosen = {self.chosen} levels cannot be chosen from levels = {self.levels}: use fewer")
        return self

    def start(self, schedule: Schedule, seed: int, batch_size: int) -> Draws:
        return AdaptiveDraws(self, schedule, seed, batch_size)


class AdaptiveDraws(Draws):
    """The policy network is made when the first images are seen, because its input has their channels.

    What it learns from, `training/beside/adaptive.py` finds out.
    """

    def __init__(self, settings: Adaptive, schedule: Schedule, seed: int, batch_size: int) -> None:
        super().__init__(schedule, seed, batch_size)
        self._settings = settings
        t = (np.arange(settings.levels) + 0.5) / settings.levels
        self.grid = np.asarray(schedule.from_uniform(t))  # decreasing log SNR; index 0 is the least noise
        self.chosen = np.arange(settings.chosen)
        self._gains: list[np.ndarray] = []
        self._policy: nn.Module | None = None
        self._optimiser: Any = None
        self._pending: dict[str, Tensor] = {}
        self._drawn: np.ndarray = np.empty(0)
        self.evaluations, self._images = 0, 0  # of the network beside training, and training images

    def draw(self, first: int, count: int, clean: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        import scipy.special
        import torch

        with torch.no_grad():
            a, b = (v.double().cpu().numpy() for v in self._parameters(clean))
        self._drawn = np.clip(scipy.special.betaincinv(a, b, uniform(self.seed, "log_snr", first, count)), 1e-6, 1 - 1e-6)
        self._images += count
        if self._settings.discrete:
            return self.grid[np.rint(self._drawn * (self._settings.levels - 1)).astype(int)], None
        return self.schedule.from_uniform(self._drawn), None

    def learn(self, clean: Tensor, reward: Tensor, gain: np.ndarray, average_gradients: Callable[[nn.Module], None]) -> None:
        """One step of the policy towards the images [count] whose levels, those drawn last, were rewarded [count].

        `gain` [T] is how much the step lowered the bound at each level; `average_gradients` is over all ranks.
        """
        self._reinforce(clean, reward, average_gradients)
        self._gains = [*self._gains, gain][-self._settings.queue :]
        self.chosen = telling_levels(np.stack(self._gains), self._settings.chosen, self.chosen)

    def bits(self, error: Tensor, level: Tensor) -> Tensor:
        """KL(q(z_{i-1}|z_i, x) || p(z_{i-1}|z_i)) = (SNR_{i-1} - SNR_i)/2 |x - x_hat|^2 (Kingma et al. 2021, eq. 13-14).

        In bits per dimension [N], of mean squared errors [N] at levels i [N].
        """
        import torch

        grid = torch.from_numpy(self.grid)
        previous = torch.where(level > 0, grid[(level - 1).clamp(min=0)], torch.full_like(grid[level], np.inf)).exp()
        snr = grid[level].exp()
        drop = torch.where(torch.isfinite(previous), previous - snr, snr)  # the first level: Gaussian reconstruction at its own SNR
        return 0.5 * drop.to(error.device) * error / np.log(2.0)

    def report(self) -> dict[str, float]:
        """Extra network evaluations per training image, and the levels that make up the reward."""
        cost = {"policy/extra_evaluations_per_image": self.evaluations / max(self._images, 1)}
        return cost | {f"policy/chosen_{i}": float(level) for i, level in enumerate(self.chosen)}

    def density(self) -> np.ndarray | None:
        if not len(self._drawn):
            return None
        return np.histogram(self._drawn, bins=16, range=(0, 1))[0] * 16 / len(self._drawn)

    def state(self) -> dict[str, Tensor]:
        import torch

        state = {
            "chosen": torch.from_numpy(self.chosen.copy()), "gains": torch.from_numpy(np.array(self._gains)),
            "counts": torch.tensor([self.evaluations, self._images]),
        }
        if self._policy is not None:
            from trainables.optimisers.optimiser_state import optimiser_tensors

            state |= {f"policy/{k}": v.detach().cpu().clone() for k, v in self._policy.state_dict().items()}
            state |= {f"optimiser/{k}": v.cpu().clone() for k, v in optimiser_tensors(self._optimiser).items()}
        return state

    def restore(self, state: dict[str, Tensor]) -> None:
        self.chosen = state["chosen"].numpy().copy()
        self._gains = list(state["gains"].numpy().copy())
        self.evaluations, self._images = state["counts"].tolist()
        self._pending = state  # the policy itself is made when its input is known

    def _reinforce(self, clean: Tensor, reward: Tensor, average_gradients: Callable[[nn.Module], None]) -> None:
        import torch

        a, b = self._parameters(clean)
        beta = torch.distributions.Beta(a, b)
        drawn = torch.from_numpy(self._drawn).to(a)
        loss = -(beta.log_prob(drawn) * reward.to(a) + self._settings.entropy * beta.entropy()).mean()
        self._optimiser.zero_grad()
        loss.backward()
        assert self._policy is not None  # made by _parameters
        average_gradients(self._policy)
        torch.nn.utils.clip_grad_norm_(self._policy.parameters(), 1.0)
        self._optimiser.step()

    def _parameters(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        """Beta parameters (a, b) [count] each, above 1e-5."""
        import torch

        if self._policy is None:
            self._make_policy(clean)
        assert self._policy is not None
        out = torch.nn.functional.softplus(self._policy(clean)) + 1e-5
        return out[:, 0], out[:, 1]

    def _make_policy(self, clean: Tensor) -> None:
        import torch
        from torch import nn

        channels = clean.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed(self.seed, "timestep policy"))
            last = nn.Linear(64, 2)
            nn.init.zeros_(last.weight)
            nn.init.constant_(last.bias, 0.5)
            self._policy = nn.Sequential(
                nn.Conv2d(channels, 16, 3, 2, 1), nn.SiLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.SiLU(),
                nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 64), nn.SiLU(), last,
            ).to(clean.device)
        self._optimiser = torch.optim.Adam(self._policy.parameters(), lr=self._settings.lr)
        if self._pending:
            from trainables.optimisers.optimiser_state import optimiser_tensors

            stored, self._pending = self._pending, {}
            if "policy/0.weight" in stored:
                with torch.no_grad():
                    for prefix, tensors in {"policy": self._policy.state_dict(), "optimiser": optimiser_tensors(self._optimiser)}.items():
                        for name, tensor in tensors.items():
                            tensor.copy_(stored[f"{prefix}/{name}"])


def telling_levels(gains_QxT: np.ndarray, count: int, current: np.ndarray) -> np.ndarray:
    """The levels whose gain best explains the summed gain over the queue: largest F-scores of univariate regressions [count].

    With fewer than three vectors a regression says nothing and the current levels stay.
    """
    if len(gains_QxT) < 3:
        return current
    from sklearn.feature_selection import f_regression

    with np.errstate(all="ignore"):
        scores = f_regression(gains_QxT, gains_QxT.sum(axis=1))[0]
    return np.sort(np.argsort(-np.nan_to_num(scores, nan=-1.0, posinf=np.finfo(float).max), kind="stable")[:count])
