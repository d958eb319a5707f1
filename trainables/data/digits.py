"""The digits that come with scikit-learn: 1,797 real 8x8 images of ten classes (UCI, Alpaydin & Kaynak 1998)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from trainables.data.images import ImageData
from trainables.data.source import DataSource


class Digits(DataSource):
    """Values 0..16; nothing to fetch, so every user has them."""

    kind: Literal["digits"] = "digits"

    stated = "the 1,797 optical digits of scikit-learn's load_digits"

    @property
    def resolution(self) -> int:
        return 8

    def read(self) -> ImageData:
        from sklearn.datasets import load_digits

        digits = load_digits()
        return ImageData(digits.images.astype(np.uint8)[:, None], digits.target.astype(np.int64), classes=10, peak=16)
