"""My noise schedule."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trainables.log_snr import as_array
from trainables.method import Array, searchable
from trainables.schedules.schedule import Schedule


class MyMethod(Schedule):
    """A logistic density over log SNR."""

    kind: Literal["my_method"] = "my_method"
    centre: float = searchable(0.0, low=-3.0, high=3.0, description="its middle in log SNR")
    width: float = Field(1.5, gt=0, description="its scale in log SNR")

    def cdf(self, log_snr: Array) -> Array:
        xp, x = as_array(log_snr)
        return 1.0 / (1.0 + xp.exp((self.centre - x) / self.width))

    def log_prob(self, log_snr: Array) -> Array:
        xp, x = as_array(log_snr)
        z = xp.abs(x - self.centre) / self.width
        return -z - 2.0 * xp.log1p(xp.exp(-z)) - xp.log(xp.full_like(z, self.width))

    def _quantile(self, lower: Array, upper: Array) -> Array:
        """log SNR with the share `lower` below and `upper` = 1 - lower above."""
        xp, lower = as_array(lower)
        return self.centre + self.width * (xp.log(lower) - xp.log(upper))
