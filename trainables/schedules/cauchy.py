"""Cauchy schedule (Hang et al. 2024): heavier tails than Laplace."""

from __future__ import annotations

import math
from typing import Literal

from trainables.log_snr import as_array
from trainables.method import Array, searchable
from trainables.schedules.schedule import LocationScale


class Cauchy(LocationScale):
    """p(lambda) = gamma / (pi ((lambda - mu)^2 + gamma^2))."""

    kind: Literal["cauchy"] = "cauchy"
    mu: float = searchable(0.0, low=-3.0, high=3.0, description="centre in log SNR")
    gamma: float = searchable(1.0, low=0.25, high=4.0, log=True, gt=0, description="half width at half maximum")

    @property
    def location(self) -> float:
        return self.mu

    @property
    def scale(self) -> float:
        return self.gamma

    def _standard_cdf(self, z: Array) -> Array:
        # atan(1/z)/pi keeps the digits of both tails where 1/2 + atan(z)/pi would cancel.
        xp, z = as_array(z)
        return xp.atan2(xp.ones_like(z), -z) / math.pi

    def _standard_log_prob(self, z: Array) -> Array:
        xp, z = as_array(z)
        return -xp.log1p(z * z) - math.log(math.pi)

    def _standard_lower_quantile(self, u: Array) -> Array:
        xp, u = as_array(u)
        return -1.0 / xp.tan(math.pi * u)
