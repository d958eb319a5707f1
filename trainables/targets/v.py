"""Velocity prediction on the variance-preserving path (Salimans & Ho 2022)."""

from __future__ import annotations

from typing import Literal

from trainables.log_snr import softplus
from trainables.method import Array
from trainables.targets.target import Target


class V(Target):
    """F = alpha eps - sigma y."""

    kind: Literal["v"] = "v"

    def of_clean_and_noise(self, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        return -sigma, alpha

    def to_clean(self, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        return alpha, -sigma

    def log_jacobian(self, log_snr: Array) -> Array:
        return -softplus(log_snr)
