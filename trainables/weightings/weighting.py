"""What a loss weighting is: a weight w(SNR) on the squared error of the clean image."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

from trainables.log_snr import as_array
from trainables.method import Array, Method
from trainables.targets.target import Target

if TYPE_CHECKING:
    from torch import nn

# Beyond exp(+-700) float64 has no value; there, every weight has reached its limit (w -> its value at zero or full noise).
_LIMIT = 700.0


class Weighting(Method, abc.ABC):
    """Written once, as log w(SNR) on the x0 loss; the weight on any other target's loss follows from the target."""

    @abc.abstractmethod
    def log_weight(self, log_snr: Array, target: Target) -> Array:
        """log w, the logarithm of the weight on the x0 loss, where `target` is what the network predicts."""

    def head(self) -> nn.Module | None:
        """What a weighting learns beside the network: a module from log SNR [N] to u [N], for loss exp(-u) w l + u."""
        return None

    @property
    def innermost(self) -> Weighting:
        """The weighting itself, or the one underneath where it adds to another."""
        return self

    def weight(self, log_snr: Array, target: Target) -> Array:
        """The weight that multiplies the squared error of the target; same shape and dtype as `log_snr`."""
        xp, x = as_array(log_snr)
        x = xp.clip(x, -_LIMIT, _LIMIT)
        return xp.exp(self.log_weight(x, target) + target.log_jacobian(x))
