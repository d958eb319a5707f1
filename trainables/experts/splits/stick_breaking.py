"""Groups for a search: every point of the unit cube is one ordered partition."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from trainables.experts.splits.split import Axis, Split
from trainables.method import searchable


def _break(number: int) -> Any:
    return searchable(0.5, low=0.02, high=0.98, gt=0, lt=1, description=f"quantile of the share that group {number} takes of what is left")


class StickBreaking(Split):
    """Group after group, from noise to data, breaks its share off what is left of the sampler's range of log SNR.

    Of N groups, group i takes 1 - (1 - u_i)^(1/(N - i)): uniform u make all partitions equally likely (a flat Dirichlet law).
    The first `groups` - 1 numbers count.
    """

    kind: Literal["stick_breaking"] = "stick_breaking"
    break_1: float = _break(1)
    break_2: float = _break(2)
    break_3: float = _break(3)
    break_4: float = _break(4)
    break_5: float = _break(5)
    break_6: float = _break(6)
    break_7: float = _break(7)

    def edges(self, groups: int, axis: Axis) -> np.ndarray:
        low, high = axis.range
        left, edges = 1.0, []
        for i in range(1, groups):
            left *= (1.0 - float(getattr(self, f"break_{i}"))) ** (1.0 / (groups - i))
            edges.append(high - (high - low) * left)
        return np.array(edges)
