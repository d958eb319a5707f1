"""My split into groups of noise levels."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from trainables.experts.splits.split import Axis, Split


class MyMethod(Split):
    """Groups between the quantiles of what sampling evaluates, pulled towards the middle."""

    kind: Literal["my_method"] = "my_method"
    margin: float = Field(0.1, ge=0, lt=0.5, description="share of the levels at either end that no edge comes into")

    def edges(self, groups: int, axis: Axis) -> np.ndarray:
        """Rising log SNR [groups - 1]; ValueError where the axis cannot be split so."""
        low, high = axis.range
        shares = self.margin + (1 - 2 * self.margin) * np.arange(1, groups) / groups
        return low + (high - low) * shares
