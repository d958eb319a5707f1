"""Sigmoid weighting (Kingma & Gao 2023; Hoogeboom et al. 2024)."""

from __future__ import annotations

from typing import Literal

from trainables.log_snr import as_array, softplus
from trainables.method import Array, searchable
from trainables.targets.target import Target
from trainables.weightings.weighting import Weighting


class Sigmoid(Weighting):
    """w = SNR sigmoid(bias - lambda): a sigmoid on the eps loss."""

    kind: Literal["sigmoid"] = "sigmoid"
    bias: float = searchable(-1.0, low=-5.0, high=3.0, description="log SNR at which the eps weight is one half")

    def log_weight(self, log_snr: Array, target: Target) -> Array:
        _, x = as_array(log_snr)
        return x - softplus(x - self.bias)
