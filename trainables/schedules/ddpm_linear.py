"""The linear-beta schedule of DDPM (Ho et al. 2020) with T discrete steps."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from trainables.log_snr import as_array
from trainables.method import Array
from trainables.schedules.schedule import Schedule


class DdpmLinear(Schedule):
    """Step i has log SNR from the cumulative product of 1 - beta.

    Between the steps, which stand at t = (i + 1/2)/T, log SNR is linear in t (and goes on linearly in the two outer half
    cells), so that density, CDF and quantiles are those of a piecewise uniform law and invert each other exactly.
    """

    kind: Literal["ddpm_linear"] = "ddpm_linear"
    steps: int = Field(1000, ge=2, le=100_000, description="number of discrete noise levels T")
    beta_start: float = Field(1e-4, gt=0, lt=1, description="first variance step")
    beta_end: float = Field(0.02, gt=0, lt=1, description="last variance step")

    @model_validator(mode="after")
    def _betas_rise(self) -> DdpmLinear:
        if self.beta_end < self.beta_start:
            raise ValueError("beta_end must not be below beta_start")
        return self

    def levels(self) -> np.ndarray:
        """log SNR of the T discrete steps, [T] float64, decreasing."""
        return _levels(self.steps, self.beta_start, self.beta_end)

    def _quantile(self, lower: Array, upper: Array) -> Array:
        xp, t = as_array(upper)
        knots = self._knots(xp, t)
        position = t * self.steps + 0.5
        index = xp.clip(xp.astype(xp.floor(position), xp.int64), 0, self.steps)
        left = knots[index]
        return left + (knots[index + 1] - left) * (position - xp.astype(index, t.dtype))

    def cdf(self, log_snr: Array) -> Array:
        return 1.0 - self.survival(log_snr)

    def survival(self, log_snr: Array) -> Array:
        xp, x = as_array(log_snr)
        index, share = self._cell(x)
        return xp.clip((xp.astype(index, x.dtype) + share - 0.5) / self.steps, 0.0, 1.0)

    def log_prob(self, log_snr: Array) -> Array:
        xp, x = as_array(log_snr)
        knots = self._knots(xp, x)
        index, _ = self._cell(x)
        density = -xp.log(self.steps * (knots[index] - knots[index + 1]))
        cdf = self.cdf(x)
        return xp.where((cdf > 0) & (cdf < 1), density, xp.full_like(x, -xp.inf))

    def _cell(self, x: Array) -> tuple[Array, Array]:
        xp, x = as_array(x)
        knots = self._knots(xp, x)
        index = xp.clip(xp.searchsorted(-knots, xp.reshape(-x, (-1,)), side="right") - 1, 0, self.steps)
        index = xp.reshape(index, x.shape)
        return index, (x - knots[index]) / (knots[index + 1] - knots[index])

    def _knots(self, xp: Array, like: Array) -> Array:
        return xp.asarray(_knots(self.steps, self.beta_start, self.beta_end), dtype=like.dtype, device=like.device)


@cache
def _levels(steps: int, beta_start: float, beta_end: float) -> np.ndarray:
    betas = np.linspace(beta_start, beta_end, steps, dtype=np.float64)
    log_alpha_bar = np.cumsum(np.log1p(-betas))
    return log_alpha_bar - np.log(-np.expm1(log_alpha_bar))


@cache
def _knots(steps: int, beta_start: float, beta_end: float) -> np.ndarray:
    """Levels with one more on either side, each continuing the line of its two neighbours."""
    levels = _levels(steps, beta_start, beta_end)
    return np.concatenate([[2 * levels[0] - levels[1]], levels, [2 * levels[-1] - levels[-2]]])
