"""What a network is: settings that can build a torch module for given image shapes."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

from trainables.method import Method

if TYPE_CHECKING:
    from torch import nn


class Network(Method, abc.ABC):
    """The module maps (noisy images [N,C,H,W] of unit variance, c_noise [N], labels [N,classes] or None) to F [N,C,H,W]."""

    @abc.abstractmethod
    def build(self, channels: int, resolution: int, classes: int) -> nn.Module:
        """A freshly initialised module; random numbers come from torch's global generator, which the caller seeds."""

    def check(self, resolution: int) -> None:
        """Raise ValueError where images of this resolution cannot pass through."""
