"""Horizontal flips that the network is not told of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainables.augmentations.augmentation import Augmentation
from trainables.randomness import uniform

if TYPE_CHECKING:
    from torch import Tensor


class Flips(Augmentation):
    """Mirrors images left to right; with probability 1/2 the data set is as good as doubled (x-flips of Karras et al. 2022, table 7).

    Generated images are then mirrored as often, while the real ones that they are compared with are not.
    """

    kind: Literal["flips"] = "flips"
    probability: float = Field(0.5, ge=0, le=1, description="share of images that are mirrored")

    def apply(self, images: Tensor, seed: int, first: int) -> tuple[Tensor, Tensor | None]:
        import torch

        mirrored = torch.from_numpy(uniform(seed, "augmentation", first, len(images)) < self.probability).to(images.device)
        return torch.where(mirrored[:, None, None, None], images.flip(3), images), None
