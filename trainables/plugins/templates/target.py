"""My prediction target."""

from __future__ import annotations

from typing import Literal

from trainables.log_snr import softplus
from trainables.method import Array
from trainables.targets.target import Target


class MyMethod(Target):
    """F = sigma y - alpha eps: what a network predicts, in terms of the clean image y and the noise eps."""

    kind: Literal["my_method"] = "my_method"

    def of_clean_and_noise(self, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        """(a, b) with F = a y + b eps."""
        return sigma, -alpha

    def to_clean(self, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        """(c, d) with y = c z + d F, where z = alpha y + sigma eps is the noisy image."""
        return alpha, sigma

    def log_jacobian(self, log_snr: Array) -> Array:
        """log d^2."""
        return -softplus(log_snr)
