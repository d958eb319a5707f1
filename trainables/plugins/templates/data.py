"""My data set."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from trainables.data.images import ImageData
from trainables.data.source import DataSource


class MyMethod(DataSource):
    """Discs of two sizes in random places, 8x8 pixels; put your own reading in `read`."""

    kind: Literal["my_method"] = "my_method"
    count: int = Field(512, ge=2, description="images")

    stated: ClassVar[str] = "discs, first version"  # a new text where what is read changes; a source with files gives `files` instead

    @property
    def resolution(self) -> int:
        return 8

    def read(self) -> ImageData:
        """Images uint8 [N,C,H,W] with labels int64 [N]."""
        draws = np.random.default_rng(0)
        labels = draws.integers(0, 2, self.count)
        x, y = draws.uniform(2, 6, (2, self.count, 1, 1))
        row, column = np.mgrid[:8, :8]
        inside = (row - y) ** 2 + (column - x) ** 2 < (1.5 + labels[:, None, None]) ** 2
        return ImageData((inside[:, None] * 255).astype(np.uint8), labels.astype(np.int64), classes=2)
