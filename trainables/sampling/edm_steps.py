"""EDM's noise levels for sampling (Karras et al. 2022, eq. 5), and what samplers that walk along them share."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, model_validator

from trainables.errors import ConfigError
from trainables.sampling.sampler import Sampler

if TYPE_CHECKING:
    from torch import Tensor


class AlongEdmSteps(Sampler, abc.ABC):
    """A sampler from sigma_max down to sigma_min and then 0."""

    num_steps: int = Field(32, ge=1, le=1000, description="number of noise levels before 0")
    sigma_min: float = Field(0.002, gt=0, description="smallest noise level before 0")
    sigma_max: float = Field(80.0, gt=0, description="first noise level")
    rho: float = Field(7.0, gt=0, description="how much the levels crowd towards sigma_min")

    @model_validator(mode="after")
    def _goes_down(self) -> AlongEdmSteps:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min must be below sigma_max, and {self.sigma_min:g} is not below {self.sigma_max:g}")
        return self

    @property
    def levels(self) -> np.ndarray:
        return self._steps()[:-1]

    def start(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """(noise levels [num_steps + 1] float64, first images)."""
        import torch

        steps = torch.as_tensor(self._steps(), device=noise.device)
        return steps, noise * steps[0].to(noise.dtype)

    def _steps(self) -> np.ndarray:
        return heun_sigma_steps(self.num_steps, self.sigma_min, self.sigma_max, self.rho)


def heun_sigma_steps(num_steps: int, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> np.ndarray:
    """Decreasing noise standard deviations [num_steps + 1], float64, from sigma_max to sigma_min and then 0."""
    if num_steps < 1 or not 0 < sigma_min < sigma_max or rho <= 0:
        raise ConfigError(
            f"sampler steps: num_steps={num_steps}, sigma_min={sigma_min}, sigma_max={sigma_max}, rho={rho} were given: "
            "num_steps must be at least 1, 0 < sigma_min < sigma_max, and rho above 0"
        )
    ramp = np.arange(num_steps, dtype=np.float64) / max(num_steps - 1, 1)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return np.append((high + ramp * (low - high)) ** rho, 0.0)
