"""My feature space."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from trainables.data import ImageData
from trainables.metrics.features import Extracted, Extractor, Features


class MyMethod(Features):
    """Means of an image's columns and rows, in a random projection; variants are compared by the Fréchet distance of these."""

    kind: Literal["my_method"] = "my_method"
    count: int = Field(16, ge=2, description="features")

    @property
    def metric(self) -> str:
        return "fd_my_method"

    @property
    def dimensions(self) -> int:
        return self.count

    def prepare(self, data: ImageData, cache: Path, pulse: Callable[[], None] = lambda: None) -> Extractor:
        """What turns raw images [N,C,H,W] into features float32 [N, count]; `cache` is a folder for what is worth keeping."""
        channels, height, width = data.shape
        projection = np.random.default_rng(0).normal(size=(channels * (height + width), self.count))

        def extract(images: np.ndarray) -> Extracted:
            values = data.for_features(images)
            means = [values.mean(axis=axis).reshape(len(images), -1) for axis in (2, 3)]
            return Extracted((np.concatenate(means, axis=1) @ projection).astype(np.float32))

        return Extractor(extract, self.hash_of(""))
