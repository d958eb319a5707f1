"""Schedules that are normal in log SNR: EDM's log-normal sigma, and the logit-normal time of rectified flows."""

from __future__ import annotations

import math
from typing import Any, Literal

import array_api_compat

from trainables.log_snr import as_array
from trainables.method import Array, searchable
from trainables.schedules.schedule import LocationScale


class NormalLogSnr(LocationScale):
    """lambda ~ N(location, scale^2)."""

    def _standard_cdf(self, z: Array) -> Array:
        xp, z = as_array(z)
        return _special(xp).ndtr(z)

    def _standard_log_prob(self, z: Array) -> Array:
        _, z = as_array(z)
        return -0.5 * z * z - 0.5 * math.log(2.0 * math.pi)

    def _standard_lower_quantile(self, u: Array) -> Array:
        xp, u = as_array(u)
        return _special(xp).ndtri(u)


class EdmLognormal(NormalLogSnr):
    """log sigma ~ N(P_mean, P_std^2), lambda = -2 log sigma (Karras et al. 2022; EDM2: -0.4, 1.0 for latents)."""

    kind: Literal["edm_lognormal"] = "edm_lognormal"
    P_mean: float = searchable(-1.2, low=-2.5, high=0.5, description="mean of log sigma")
    P_std: float = searchable(1.2, low=0.6, high=2.0, gt=0, description="standard deviation of log sigma")

    @property
    def location(self) -> float:
        return -2.0 * self.P_mean

    @property
    def scale(self) -> float:
        return 2.0 * self.P_std


class LogitNormal(NormalLogSnr):
    """t = sigmoid(N(mean, std^2)) of the straight path, lambda = 2 logit(1-t) (Esser et al. 2024)."""

    kind: Literal["logit_normal"] = "logit_normal"
    mean: float = searchable(0.0, low=-1.5, high=1.5, description="mean of logit t")
    std: float = searchable(1.0, low=0.4, high=2.0, gt=0, description="standard deviation of logit t")

    @property
    def location(self) -> float:
        return -2.0 * self.mean

    @property
    def scale(self) -> float:
        return 2.0 * self.std


def _special(xp: Any) -> Any:
    """Special functions for arrays of a namespace; torch is not looked at for numpy's, because another thread may just be importing it."""
    if array_api_compat.is_numpy_namespace(xp):
        import scipy.special

        return scipy.special
    import torch

    return torch.special
