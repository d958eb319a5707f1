"""Constant weight on the loss of one target."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trainables.method import Array
from trainables.targets.target import Target
from trainables.weightings.weighting import Weighting


class Constant(Weighting):
    """Weight 1 on the loss of the named target: w = SNR for eps, 1 for x0, SNR + 1 for v (Ho et al. 2020 use eps)."""

    kind: Literal["constant"] = "constant"
    on: Literal["target", "eps", "x0", "v", "edm", "flow"] = Field(
        "target", description="the loss whose weight is 1; 'target' is what the network predicts"
    )

    def log_weight(self, log_snr: Array, target: Target) -> Array:
        from trainables.targets import make_target

        chosen = target if self.on == "target" else make_target(self.on)
        return -chosen.log_jacobian(log_snr)
