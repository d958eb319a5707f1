"""Groups whose edges are given."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from trainables.experts.splits.split import Axis, Split


class Given(Split):
    """Edges at rising fractions of the sampler's range of log SNR, from noise (0) to data (1)."""

    kind: Literal["given"] = "given"
    fractions: tuple[float, ...] = Field(description="the edges between the groups, rising, each above 0 and below 1; none for one group")

    @model_validator(mode="after")
    def _rise(self) -> Given:
        if any(not a < b for a, b in pairwise((0.0, *self.fractions, 1.0))):
            raise ValueError(f"fractions must rise between 0 and 1, and {', '.join(f'{f:g}' for f in self.fractions)} do not")
        return self

    def check(self, groups: int) -> None:
        if len(self.fractions) != groups - 1:
            raise ValueError(f"split given: {groups} groups have {groups - 1} edges between them, and {len(self.fractions)} were given")

    def edges(self, groups: int, axis: Axis) -> np.ndarray:
        low, high = axis.range
        return low + (high - low) * np.asarray(self.fractions, dtype=np.float64)
