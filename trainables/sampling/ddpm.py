"""Ancestral sampling: steps drawn from the posterior of the forward process (Ho et al. 2020, algorithm 2; Song et al. 2021, eq. 16)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainables.sampling.edm_steps import AlongEdmSteps

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.sampling.sampler import Denoise, FreshNoise


class Ddpm(AlongEdmSteps):
    """In EDM's coordinates q(x_s | x_r, x0) for s < r is normal: mean x0 + (s/r)^2 (x_r - x0), variance s^2 (r^2 - s^2) / r^2."""

    kind: Literal["ddpm"] = "ddpm"
    num_steps: int = Field(250, ge=1, le=1000, description="number of noise levels before 0")
    eta: float = Field(1.0, gt=0, le=1, description="share of the posterior's standard deviation; towards 0 it becomes ddim")

    @property
    def stochastic(self) -> bool:
        return True

    def sample(self, denoise: Denoise, noise: Tensor, fresh_noise: FreshNoise | None = None) -> Tensor:
        if fresh_noise is None:
            raise ValueError("ancestral sampling needs fresh noise")
        steps, x = self.start(noise)
        for step, (now, following) in enumerate(itertools.pairwise(steps)):
            clean = denoise(x, now)
            added = self.eta * following * (1.0 - (following / now) ** 2).sqrt()
            kept = (following**2 - added**2).sqrt() / now  # the noise that is left has standard deviation `following` in all
            x = clean + kept.to(x.dtype) * (x - clean)
            if following > 0:
                x = x + added.to(x.dtype) * fresh_noise(step)
        return x
