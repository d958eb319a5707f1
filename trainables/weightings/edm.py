"""EDM's weighting (Karras et al. 2022)."""

from __future__ import annotations

from typing import Literal

from trainables.log_snr import softplus
from trainables.method import Array
from trainables.targets.target import Target
from trainables.weightings.weighting import Weighting


class Edm(Weighting):
    """w = SNR + 1, that is 1/c_out^2: weight 1 on the preconditioned network's own output."""

    kind: Literal["edm"] = "edm"

    def log_weight(self, log_snr: Array, target: Target) -> Array:
        return softplus(log_snr)
