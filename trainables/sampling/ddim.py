"""DDIM (Song et al. 2021): first-order steps of the probability-flow ODE in the variance-preserving form."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

from trainables.sampling.edm_steps import AlongEdmSteps

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.sampling.sampler import Denoise, FreshNoise


class Ddim(AlongEdmSteps):
    """Deterministic; in EDM's coordinates x = x0 + sigma eps, a step keeps the predicted noise and lowers sigma."""

    kind: Literal["ddim"] = "ddim"

    def sample(self, denoise: Denoise, noise: Tensor, fresh_noise: FreshNoise | None = None) -> Tensor:
        steps, x = self.start(noise)
        for now, following in itertools.pairwise(steps):
            clean = denoise(x, now)
            x = clean + (following / now).to(x.dtype) * (x - clean)
        return x
