"""Weightings by the SNR itself: plain, and truncated from below (Salimans & Ho 2022)."""

from __future__ import annotations

from typing import Literal

from trainables.log_snr import as_array
from trainables.method import Array
from trainables.targets.target import Target
from trainables.weightings.weighting import Weighting


class Snr(Weighting):
    """w = SNR: the same as a constant weight on the eps loss."""

    kind: Literal["snr"] = "snr"

    def log_weight(self, log_snr: Array, target: Target) -> Array:
        return as_array(log_snr)[1]


class TruncatedSnr(Weighting):
    """w = max(SNR, 1)."""

    kind: Literal["truncated_snr"] = "truncated_snr"

    def log_weight(self, log_snr: Array, target: Target) -> Array:
        xp, x = as_array(log_snr)
        return xp.clip(x, 0.0, None)
