"""Groups that training draws equally often."""

from __future__ import annotations

from typing import Literal

import numpy as np

from trainables.experts.splits.split import Axis, Split


class EqualMass(Split):
    """Equal shares of the training density."""

    kind: Literal["equal_mass"] = "equal_mass"

    def edges(self, groups: int, axis: Axis) -> np.ndarray:
        return np.asarray(axis.schedule.icdf(np.arange(1, groups) / groups))
