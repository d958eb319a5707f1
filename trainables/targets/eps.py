"""Noise prediction (Ho et al. 2020)."""

from __future__ import annotations

from typing import Literal

from trainables.log_snr import as_array
from trainables.method import Array
from trainables.targets.target import Target


class Eps(Target):
    """F = eps."""

    kind: Literal["eps"] = "eps"

    def of_clean_and_noise(self, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        return 0.0 * alpha, 0.0 * sigma + 1.0

    def to_clean(self, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        return 1.0 / alpha, -sigma / alpha

    def log_jacobian(self, log_snr: Array) -> Array:
        return -as_array(log_snr)[1]
