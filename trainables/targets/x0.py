"""Clean-image prediction."""

from __future__ import annotations

from typing import Literal

from trainables.log_snr import as_array
from trainables.method import Array
from trainables.targets.target import Target


class X0(Target):
    """F = y."""

    kind: Literal["x0"] = "x0"

    def of_clean_and_noise(self, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        return 0.0 * alpha + 1.0, 0.0 * sigma

    def to_clean(self, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        return 0.0 * alpha, 0.0 * sigma + 1.0

    def log_jacobian(self, log_snr: Array) -> Array:
        return 0.0 * as_array(log_snr)[1]
