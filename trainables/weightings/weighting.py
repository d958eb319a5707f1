"""What a loss weighting is: a weight w(SNR) on the squared error of the clean image."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

from trainables.log_snr import as_array
from trainables.method import Array, Method
from trainables.targets.target import Target

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from trainables.recipe import Recipe
    from trainables.timesteps.policy import Step

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

    def learned(self) -> LearnedWeights | None:
        """Weights by noise level that are estimated during training, as a factor on `weight`."""
        return None

    def weight(self, log_snr: Array, target: Target) -> Array:
        """The weight that multiplies the squared error of the target; same shape and dtype as `log_snr`."""
        xp, x = as_array(log_snr)
        x = xp.clip(x, -_LIMIT, _LIMIT)
        return xp.exp(self.log_weight(x, target) + target.log_jacobian(x))


class LearnedWeights(abc.ABC):
    """What a weighting estimates during one run; every rank holds the same."""

    @abc.abstractmethod
    def factor(self, log_snr: np.ndarray) -> np.ndarray:
        """Factor on the weight [N]."""

    @abc.abstractmethod
    def before_step(self, recipe: Recipe, step: Step, log_snr: Tensor, noise: Tensor) -> None:
        """Look at the images of a step before they are trained on."""

    @abc.abstractmethod
    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold, as CPU tensors."""

    @abc.abstractmethod
    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a state."""
