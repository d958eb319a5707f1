"""DPM-Solver++(2M) (Lu et al. 2022): second-order multistep in half log SNR, on the predicted clean image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainables.sampling.edm_steps import heun_sigma_steps
from trainables.sampling.sampler import Sampler

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.sampling.sampler import Denoise


class DpmSolver(Sampler):
    """One network evaluation per step; the first and the last step are of first order."""

    kind: Literal["dpm_solver"] = "dpm_solver"
    num_steps: int = Field(20, ge=1, le=1000, description="network evaluations")
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
        earlier: Tensor | None = None
        for i in range(self.num_steps):
            now, following = steps[i], steps[i + 1]
            clean = denoise(x, now)
            if following == 0:
                x = clean
                break
            # h is the step in half log SNR, -log sigma; with sigma as time, exp(-h) = following/now.
            direction = clean
            if earlier is not None:
                ratio = torch.log(steps[i - 1] / now) / torch.log(now / following)
                direction = clean + (0.5 / ratio).to(x.dtype) * (clean - earlier)
            shrink = (following / now).to(x.dtype)
            x = shrink * x + (1.0 - shrink) * direction
            earlier = clean
        return x
