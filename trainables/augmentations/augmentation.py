"""What an augmentation is: a random change of each training image, and what the network is told about it."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, ClassVar

from trainables.method import Method

if TYPE_CHECKING:
    from torch import Tensor


class Augmentation(Method, abc.ABC):
    """Of images in training alone: real images that scores compare with, and held-out ones, stay as they are."""

    labels: ClassVar[int] = 0  # numbers per image that the network is conditioned on; all zero for an unchanged image, and in sampling

    @abc.abstractmethod
    def apply(self, images: Tensor, seed: int, first: int) -> tuple[Tensor, Tensor | None]:
        """(images, augment labels [N, labels] or None) of whitened images [N,C,H,W].

        A function of (seed, "augmentation", first + i) for image i, whatever the batch.
        """
