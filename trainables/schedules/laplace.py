"""Laplace schedule (Hang et al. 2024, "Improved Noise Schedule for Diffusion Training")."""

from __future__ import annotations

import math
from typing import Literal

from trainables.log_snr import as_array
from trainables.method import Array, searchable
from trainables.schedules.schedule import LocationScale


class Laplace(LocationScale):
    """p(lambda) = exp(-|lambda - mu|/b) / (2b): mass around the middle noise levels; b = 0.5 is the best published."""

    kind: Literal["laplace"] = "laplace"
    mu: float = searchable(0.0, low=-3.0, high=3.0, description="centre in log SNR")
    b: float = searchable(0.5, low=0.25, high=3.0, log=True, gt=0, description="schedule concentration; smaller is narrower")

    @property
    def location(self) -> float:
        return self.mu

    @property
    def scale(self) -> float:
        return self.b

    def _standard_cdf(self, z: Array) -> Array:
        xp, z = as_array(z)
        tail = 0.5 * xp.exp(-xp.abs(z))
        return xp.where(z <= 0, tail, 1.0 - tail)

    def _standard_log_prob(self, z: Array) -> Array:
        xp, z = as_array(z)
        return -xp.abs(z) - math.log(2.0)

    def _standard_lower_quantile(self, u: Array) -> Array:
        xp, u = as_array(u)
        return xp.log(2.0 * u)
