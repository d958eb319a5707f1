"""Velocity of the straight path x_t = (1-t) y + t eps (Lipman et al. 2023, Liu et al. 2023)."""

from __future__ import annotations

from typing import Literal

from trainables.log_snr import as_array, softplus
from trainables.method import Array
from trainables.targets.target import Target


class Flow(Target):
    """F = eps - y; with t = sigma/(alpha + sigma), x_t = z/(alpha + sigma) and y = x_t - t F."""

    kind: Literal["flow"] = "flow"

    def of_clean_and_noise(self, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        return 0.0 * alpha - 1.0, 0.0 * sigma + 1.0

    def to_clean(self, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        return 1.0 / (alpha + sigma), -sigma / (alpha + sigma)

    def log_jacobian(self, log_snr: Array) -> Array:
        return -2.0 * softplus(0.5 * as_array(log_snr)[1])
