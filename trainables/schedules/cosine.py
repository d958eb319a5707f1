"""Cosine schedules: lambda(t) = mu - (2/s) log tan(pi t/2) (Nichol & Dhariwal 2021; shifted: Hoogeboom et al. 2023)."""

from __future__ import annotations

import math
from typing import Literal

from trainables.log_snr import as_array, softplus
from trainables.method import Array, searchable
from trainables.schedules.schedule import LocationScale


class Cosine(LocationScale):
    """p(lambda) = sech(lambda/2) / (2 pi), the common baseline."""

    kind: Literal["cosine"] = "cosine"

    @property
    def location(self) -> float:
        return 0.0

    @property
    def scale(self) -> float:
        return 1.0

    def _standard_cdf(self, z: Array) -> Array:
        xp, z = as_array(z)
        return (2.0 / math.pi) * xp.atan(xp.exp(0.5 * z))

    def _standard_log_prob(self, z: Array) -> Array:
        # sech(z/2) = 2 exp(-|z|/2) / (1 + exp(-|z|))
        xp, z = as_array(z)
        return -0.5 * xp.abs(z) - softplus(-xp.abs(z)) - math.log(math.pi)

    def _standard_lower_quantile(self, u: Array) -> Array:
        xp, u = as_array(u)
        return 2.0 * xp.log(xp.tan(0.5 * math.pi * u))


class CosineShifted(Cosine):
    """The cosine schedule moved by mu along log SNR."""

    kind: Literal["cosine_shifted"] = "cosine_shifted"  # type: ignore[assignment]
    mu: float = searchable(0.0, low=-3.0, high=3.0, description="shift of log SNR")

    @property
    def location(self) -> float:
        return self.mu


class CosineScaled(Cosine):
    """The cosine schedule narrowed by s around log SNR 0."""

    kind: Literal["cosine_scaled"] = "cosine_scaled"  # type: ignore[assignment]
    s: float = searchable(1.0, low=0.5, high=4.0, log=True, gt=0, description="concentration; larger is narrower")

    @property
    def scale(self) -> float:
        return 1.0 / self.s


