"""Heun's second-order sampler (Karras et al. 2022, algorithms 1 and 2)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from trainables.sampling.edm_steps import AlongEdmSteps

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.sampling.sampler import Denoise, FreshNoise


class Heun(AlongEdmSteps):
    """Deterministic for churn = 0; the last step, to sigma = 0, is Euler's, so there are 2 num_steps - 1 evaluations."""

    kind: Literal["heun"] = "heun"
    churn: float = Field(0.0, ge=0, description="S_churn: noise added back along the way")
    churn_min: float = Field(0.0, ge=0, description="S_min: smallest sigma at which noise is added back")
    churn_max: float = Field(1e9, ge=0, description="S_max: largest sigma at which noise is added back")
    churn_noise: float = Field(1.0, gt=0, description="S_noise: standard deviation of the noise added back")

    @model_validator(mode="after")
    def _churns_somewhere(self) -> Heun:
        if self.churn and not any(self._raises(sigma) for sigma in self._steps()[:-1]):
            raise ValueError(
                f"churn = {self.churn:g} would have no effect: none of the {self.num_steps} noise levels, {self.sigma_max:g} to "
                f"{self.sigma_min:g}, lies between churn_min = {self.churn_min:g} and churn_max = {self.churn_max:g}"
            )
        return self

    @property
    def stochastic(self) -> bool:
        return self.churn > 0

    @property
    def levels(self) -> np.ndarray:
        steps = self._steps()
        raised = [sigma * self._growth(sigma) for sigma in steps[:-1]]
        return np.array([level for pair in zip(raised, steps[1:], strict=True) for level in pair][:-1])

    def sample(self, denoise: Denoise, noise: Tensor, fresh_noise: FreshNoise | None = None) -> Tensor:
        if self.churn and fresh_noise is None:
            raise ValueError("churn needs fresh noise")
        sigmas, (steps, x) = self._steps(), self.start(noise)
        for i in range(self.num_steps):
            now, following = steps[i], steps[i + 1]
            if fresh_noise and self._raises(sigmas[i]):
                raised = now * self._growth(sigmas[i])
                added = (raised**2 - now**2).sqrt() * self.churn_noise
                x, now = x + added.to(x.dtype) * fresh_noise(i), raised
            slope = (x - denoise(x, now)) / now.to(x.dtype)
            reach = (following - now).to(x.dtype)
            ahead = x + reach * slope
            if i < self.num_steps - 1:
                slope_ahead = (ahead - denoise(ahead, following)) / following.to(x.dtype)
                ahead = x + reach * (0.5 * slope + 0.5 * slope_ahead)
            x = ahead
        return x

    def _raises(self, sigma: float) -> bool:
        return self.churn > 0 and self.churn_min <= sigma <= self.churn_max

    def _growth(self, sigma: float) -> float:
        """1 + gamma, by which churn raises a noise level."""
        return 1.0 + min(self.churn / self.num_steps, math.sqrt(2.0) - 1.0) if self._raises(sigma) else 1.0
