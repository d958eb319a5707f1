"""DPM-Solver++(2M) (Lu et al. 2022): second-order multistep in half log SNR, on the predicted clean image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trainables.sampling.edm_steps import AlongEdmSteps

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.sampling.sampler import Denoise, FreshNoise


class DpmSolver(AlongEdmSteps):
    """One network evaluation per step; the first and the last step are of first order."""

    kind: Literal["dpm_solver"] = "dpm_solver"

    def sample(self, denoise: Denoise, noise: Tensor, fresh_noise: FreshNoise | None = None) -> Tensor:
        import torch

        steps, x = self.start(noise)
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
