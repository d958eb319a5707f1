"""What a noise schedule is: a probability density over log SNR from which training draws its noise levels."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from trainables.log_snr import as_array
from trainables.method import Array, Method


class Schedule(Method, abc.ABC):
    """A density p(lambda); `t ~ U(0,1) -> log_snr(t)` is its decreasing inverse survival function.

    `log_snr`, `cdf`, `icdf` and `log_prob` are exact and unclamped; `sample` clamps what it draws to the stated range.
    All take numpy arrays, torch tensors or numbers and keep the type, shape and dtype.
    """

    log_snr_min: float = Field(-20.0, description="smallest log SNR that training sees")
    log_snr_max: float = Field(20.0, description="largest log SNR that training sees")

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Schedule:
        if not self.log_snr_min < self.log_snr_max:
            raise ValueError("log_snr_min must be below log_snr_max")
        return self

    @property
    def name(self) -> str:
        """What a message calls it."""
        return str(type(self).model_fields["kind"].default)

    def log_snr(self, t: Array) -> Array:
        """lambda(t) for t in (0, 1), decreasing."""
        _, t = as_array(t)
        return self._quantile(1.0 - t, t)

    def icdf(self, u: Array) -> Array:
        """The lambda below which a share u in (0, 1) of the noise levels lies."""
        _, u = as_array(u)
        return self._quantile(u, 1.0 - u)

    @abc.abstractmethod
    def cdf(self, log_snr: Array) -> Array:
        """P(lambda <= log_snr)."""

    def survival(self, log_snr: Array) -> Array:
        """P(lambda > log_snr), with its digits where it is small."""
        return 1.0 - self.cdf(log_snr)

    @abc.abstractmethod
    def log_prob(self, log_snr: Array) -> Array:
        """log p(lambda), natural logarithm, density per unit of log SNR."""

    @abc.abstractmethod
    def _quantile(self, lower: Array, upper: Array) -> Array:
        """lambda with P(below) = lower and P(above) = upper = 1 - lower; both are given so that no tail loses digits."""

    def clamp(self, log_snr: Array) -> Array:
        xp, x = as_array(log_snr)
        return xp.clip(x, self.log_snr_min, self.log_snr_max)

    def sample(self, n: int, generator: Any = None, stratified: bool = False) -> Array:
        """n noise levels [n], float64, clamped to the range.

        `generator` is a numpy Generator (numpy out), a torch Generator (torch out, on its device), an integer seed or None.
        `stratified` draws one level from each of n equally likely strata (low discrepancy), in random order of the strata's offset.
        """
        if generator is None or isinstance(generator, int | np.integer):
            generator = np.random.default_rng(generator)
        if isinstance(generator, np.random.Generator):
            uniform: Array = generator.random(1 if stratified else n)
            strata: Array = np.arange(n) / n
        else:
            import torch

            device = generator.device
            uniform = torch.rand(1 if stratified else n, generator=generator, dtype=torch.float64, device=device)
            strata = torch.arange(n, dtype=torch.float64, device=device) / n
        t = (strata + uniform) % 1.0 if stratified else uniform
        return self.from_uniform(t)

    def from_uniform(self, t: Array) -> Array:
        """Clamped noise levels of given uniform numbers in [0, 1)."""
        xp, t = as_array(t)
        return self.clamp(self.log_snr(xp.clip(t, 2.0**-53, 1.0 - 2.0**-53)))


class LocationScale(Schedule):
    """A symmetric family: lambda = location + scale * z, given the standard law of z."""

    @property
    @abc.abstractmethod
    def location(self) -> float: ...

    @property
    @abc.abstractmethod
    def scale(self) -> float: ...

    @abc.abstractmethod
    def _standard_cdf(self, z: Array) -> Array: ...

    @abc.abstractmethod
    def _standard_log_prob(self, z: Array) -> Array: ...

    @abc.abstractmethod
    def _standard_lower_quantile(self, u: Array) -> Array:
        """z <= 0 with P(below) = u, for u in (0, 1/2]."""

    def cdf(self, log_snr: Array) -> Array:
        _, x = as_array(log_snr)
        return self._standard_cdf((x - self.location) / self.scale)

    def survival(self, log_snr: Array) -> Array:
        _, x = as_array(log_snr)
        return self._standard_cdf((self.location - x) / self.scale)

    def log_prob(self, log_snr: Array) -> Array:
        _, x = as_array(log_snr)
        return self._standard_log_prob((x - self.location) / self.scale) - float(np.log(self.scale))

    def _quantile(self, lower: Array, upper: Array) -> Array:
        xp, lower = as_array(lower)
        below = lower <= 0.5
        magnitude = self._standard_lower_quantile(xp.where(below, lower, upper))
        return self.location + self.scale * xp.where(below, magnitude, -magnitude)
