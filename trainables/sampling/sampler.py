"""What a sampler is: settings, and a walk from noise to images through calls of a denoiser."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from trainables.method import Method

if TYPE_CHECKING:
    from torch import Tensor

    Denoise = Callable[[Tensor, Tensor], Tensor]  # (x [N,C,H,W], sigma scalar) -> clean images, in EDM's coordinates
    FreshNoise = Callable[[int], Tensor]  # step -> standard normal [N,C,H,W], of the images' dtype and device


class Sampler(Method, abc.ABC):
    """Chosen independently of the schedule that training used."""

    @abc.abstractmethod
    def sample(self, denoise: Denoise, noise: Tensor, fresh_noise: FreshNoise | None = None) -> Tensor:
        """Images [N,C,H,W] of standard deviation sigma_data from standard normal `noise` [N,C,H,W].

        `fresh_noise` gives what a stochastic sampler adds at a step; the others do not call it.
        """

    @property
    @abc.abstractmethod
    def levels(self) -> np.ndarray:
        """EDM noise levels of the denoiser calls in their order, [evaluations] float64."""

    @property
    def stochastic(self) -> bool:
        """Whether noise is added along the way."""
        return False

    @property
    def evaluations(self) -> int:
        """Denoiser calls per image (NFE)."""
        return len(self.levels)
