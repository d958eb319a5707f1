"""A weighting, a schedule and a target."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from lab_methods.shared import power_of
from trainables.log_snr import as_array, softplus
from trainables.method import Array, searchable
from trainables.schedules.schedule import Schedule
from trainables.targets.target import Target
from trainables.weightings.weighting import Weighting


class LabPower(Weighting):
    """w = SNR^power."""

    kind: Literal["lab_power"] = "lab_power"
    power: float = searchable(0.5, low=0.25, high=1.0, ge=0, le=2, description="power of the SNR")

    def log_weight(self, log_snr: Array, target: Target) -> Array:
        return power_of(log_snr, self.power)


class LabUniform(Schedule):
    """Even over an interval of log SNR."""

    kind: Literal["lab_uniform"] = "lab_uniform"
    reach: float = Field(6.0, gt=0, description="log SNR from minus this to this")

    def cdf(self, log_snr: Array) -> Array:
        xp, x = as_array(log_snr)
        return xp.clip((x + self.reach) / (2 * self.reach), 0.0, 1.0)

    def log_prob(self, log_snr: Array) -> Array:
        xp, x = as_array(log_snr)
        return xp.where(xp.abs(x) <= self.reach, xp.full_like(x, -math.log(2 * self.reach)), xp.full_like(x, -math.inf))

    def _quantile(self, lower: Array, upper: Array) -> Array:
        return self.reach * (lower - upper)


class LabTarget(Target):
    """F = sigma y - alpha eps."""

    kind: Literal["lab_target"] = "lab_target"

    def of_clean_and_noise(self, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        return sigma, -alpha

    def to_clean(self, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        return alpha, sigma

    def log_jacobian(self, log_snr: Array) -> Array:
        return -softplus(log_snr)
