"""EDM preconditioning (Karras et al. 2022, table 1)."""

from __future__ import annotations

from typing import Literal

from trainables.log_snr import softplus
from trainables.method import Array
from trainables.targets.target import Target


class EdmPreconditioned(Target):
    """D = c_skip x + c_out F; for unit-variance data c_skip x = alpha z and c_out = sigma, so F = sigma y - alpha eps = -v."""

    kind: Literal["edm"] = "edm"

    def of_clean_and_noise(self, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        return sigma, -alpha

    def to_clean(self, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        return alpha, sigma

    def log_jacobian(self, log_snr: Array) -> Array:
        return -softplus(log_snr)
