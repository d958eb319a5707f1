"""Heun's second-order sampler (Karras et al. 2022, algorithms 1 and 2)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainables.sampling.edm_steps import AlongEdmSteps

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.sampling.sampler import Denoise


class Heun(AlongEdmSteps):
    """Deterministic for churn = 0; the last step, to sigma = 0, is Euler's, so there are 2 num_steps - 1 evaluations."""

    kind: Literal["heun"] = "heun"
    churn: float = Field(0.0, ge=0, description="S_churn: noise added back along the way")
    churn_min: float = Field(0.0, ge=0, description="S_min: smallest sigma at which noise is added back")
    churn_max: float = Field(1e9, ge=0, description="S_max: largest sigma at which noise is added back")
    churn_noise: float = Field(1.0, gt=0, description="S_noise: standard deviation of the noise added back")

    @property
    def evaluations(self) -> int:
        return 2 * self.num_steps - 1

    def sample(self, denoise: Denoise, noise: Tensor, fresh_noise: Denoise | None = None) -> Tensor:
        """`fresh_noise(x, sigma)` gives the noise that churn adds (needed only for churn > 0)."""
        steps, x = self.start(noise)
        for i in range(self.num_steps):
            now, following = steps[i], steps[i + 1]
            if self.churn and fresh_noise and self.churn_min <= now <= self.churn_max:
                raised = now * (1.0 + min(self.churn / self.num_steps, math.sqrt(2.0) - 1.0))
                added = (raised**2 - now**2).sqrt() * self.churn_noise
                x, now = x + added.to(x.dtype) * fresh_noise(x, now), raised
            slope = (x - denoise(x, now)) / now.to(x.dtype)
            reach = (following - now).to(x.dtype)
            ahead = x + reach * slope
            if i < self.num_steps - 1:
                slope_ahead = (ahead - denoise(ahead, following)) / following.to(x.dtype)
                ahead = x + reach * (0.5 * slope + 0.5 * slope_ahead)
            x = ahead
        return x
