"""DDIM (Song et al. 2021): first-order steps of the probability-flow ODE in the variance-preserving form."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainables.sampling.edm_steps import heun_sigma_steps
from trainables.sampling.sampler import Sampler

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.sampling.sampler import Denoise


class Ddim(Sampler):
    """Deterministic; in EDM's coordinates x = x0 + sigma eps, a step keeps the predicted noise and lowers sigma."""

    kind: Literal["ddim"] = "ddim"
    num_steps: int = Field(50, ge=1, le=1000, description="network evaluations")
    sigma_min: float = Field(0.002, gt=0, description="smallest noise level before 0")
    sigma_max: float = Field(80.0, gt=0, description="first noise level")
    rho: float = Field(7.0, gt=0, description="how much the levels crowd towards sigma_min")

    @property
    def evaluations(self) -> int:
        return self.num_steps

    def sample(self, denoise: Denoise, noise: Tensor) -> Tensor:
        import torch

        steps = torch.as_tensor(heun_sigma_steps(self.num_steps, self.sigma_min, self.sigma_max, self.rho), device=noise.device)
        x = noise * steps[0].to(noise.dtype)
        for now, following in itertools.pairwise(steps):
            clean = denoise(x, now)
            x = clean + (following / now).to(x.dtype) * (x - clean)
        return x
