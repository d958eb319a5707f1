"""Groups of equal loss."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from trainables.experts.splits.split import Axis, Split


class EqualLoss(Split):
    """Equal integrals of the base's held-out loss over the sampler's range of log SNR."""

    kind: Literal["equal_loss"] = "equal_loss"
    needs_loss: ClassVar[bool] = True

    def edges(self, groups: int, axis: Axis) -> np.ndarray:
        if axis.loss is None:
            raise ValueError("equal_loss: the base's loss has not been measured")
        return axis.loss.quantiles(np.arange(1, groups) / groups, *axis.range)
