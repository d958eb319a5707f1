"""What a sampler is: settings, and a walk from noise to images through calls of a denoiser."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING

from trainables.method import Method

if TYPE_CHECKING:
    from torch import Tensor

    Denoise = Callable[[Tensor, Tensor], Tensor]  # (x [N,C,H,W], sigma scalar) -> clean images, in EDM's coordinates


class Sampler(Method, abc.ABC):
    """Chosen independently of the schedule that training used."""

    @abc.abstractmethod
    def sample(self, denoise: Denoise, noise: Tensor) -> Tensor:
        """Images [N,C,H,W] of standard deviation sigma_data from standard normal `noise` [N,C,H,W]."""

    @property
    @abc.abstractmethod
    def evaluations(self) -> int:
        """Denoiser calls per image (NFE)."""
