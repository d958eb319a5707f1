"""My augmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainables.augmentations.augmentation import Augmentation
from trainables.randomness import uniform

if TYPE_CHECKING:
    from torch import Tensor


class MyMethod(Augmentation):
    """Mirrors images top to bottom; the network is not told."""

    kind: Literal["my_method"] = "my_method"
    probability: float = Field(0.5, ge=0, le=1, description="share of images that are mirrored")

    def apply(self, images: Tensor, seed: int, first: int) -> tuple[Tensor, Tensor | None]:
        """(images [N,C,H,W], augment labels or None): image i is changed by (seed, first + i) alone."""
        import torch

        mirrored = torch.from_numpy(uniform(seed, "augmentation", first, len(images)) < self.probability).to(images.device)
        return torch.where(mirrored[:, None, None, None], images.flip(2), images), None
