"""Augmentations of training images: one file each, found by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.augmentations.augmentation import Augmentation
from trainables.method import kinds_in, one_of

KINDS = kinds_in(__name__, Augmentation)

if TYPE_CHECKING:
    AnyAugmentation = Augmentation
else:
    AnyAugmentation = one_of(KINDS)

__all__ = ["KINDS", "AnyAugmentation", "Augmentation"]
