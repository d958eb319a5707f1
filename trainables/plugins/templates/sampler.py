"""My sampler."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

from trainables.sampling.edm_steps import AlongEdmSteps

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.sampling.sampler import Denoise, FreshNoise


class MyMethod(AlongEdmSteps):
    """Euler's steps along EDM's noise levels."""

    kind: Literal["my_method"] = "my_method"

    def sample(self, denoise: Denoise, noise: Tensor, fresh_noise: FreshNoise | None = None) -> Tensor:
        """Images [N,C,H,W] from standard normal noise; `denoise(x, sigma)` gives the clean images."""
        steps, x = self.start(noise)
        for now, following in itertools.pairwise(steps):
            slope = (x - denoise(x, now)) / now.to(x.dtype)
            x = x + (following - now).to(x.dtype) * slope
        return x
