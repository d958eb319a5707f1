"""My weighting."""

from __future__ import annotations

from typing import Literal

from trainables.log_snr import as_array
from trainables.method import Array, searchable
from trainables.targets.target import Target
from trainables.weightings.weighting import Weighting


class MyMethod(Weighting):
    """w = SNR^power on the x0 loss."""

    kind: Literal["my_method"] = "my_method"
    power: float = searchable(0.5, low=0.1, high=1.0, ge=0, le=2, description="power of the SNR")

    def log_weight(self, log_snr: Array, target: Target) -> Array:
        """log w at log SNR, a numpy array or a torch tensor."""
        _, x = as_array(log_snr)
        return self.power * x
