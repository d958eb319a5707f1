"""P2 weighting (Choi et al. 2022, "Perception Prioritized Training of Diffusion Models")."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from trainables.log_snr import as_array
from trainables.method import Array, searchable
from trainables.targets.target import Target
from trainables.weightings.weighting import Weighting


class P2(Weighting):
    """w = SNR / (k + SNR)^gamma; gamma = 0 is SNR weighting."""

    kind: Literal["p2"] = "p2"
    k: float = Field(1.0, gt=0, description="SNR around which the weight turns")
    gamma: float = searchable(1.0, low=0.0, high=2.0, ge=0, description="exponent")

    def log_weight(self, log_snr: Array, target: Target) -> Array:
        xp, x = as_array(log_snr)
        return x - self.gamma * xp.logaddexp(x, xp.full_like(x, math.log(self.k)))
