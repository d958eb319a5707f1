"""Images as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trainables.augmentations.augmentation import Augmentation

if TYPE_CHECKING:
    from torch import Tensor


class NoAugmentation(Augmentation):
    """Every image is trained on as it is."""

    kind: Literal["none"] = "none"

    def apply(self, images: Tensor, seed: int, first: int) -> tuple[Tensor, Tensor | None]:
        return images, None
