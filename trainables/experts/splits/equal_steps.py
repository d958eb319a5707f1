"""Groups of equally many network evaluations."""

from __future__ import annotations

from typing import Literal

import numpy as np

from trainables.experts.splits.split import Axis, Split


class EqualSteps(Split):
    """The network evaluations of the sampler in use in equal parts, as nearly as its levels allow; edges lie halfway between levels."""

    kind: Literal["equal_steps"] = "equal_steps"

    def edges(self, groups: int, axis: Axis) -> np.ndarray:
        levels, counts = np.unique(axis.evaluated, return_counts=True)
        if len(levels) < groups:
            raise ValueError(f"equal_steps: the sampler evaluates the network at {len(levels)} noise levels, too few for {groups} groups")
        before = np.cumsum(counts)[:-1]  # evaluations below each gap between two levels
        gaps: list[int] = []
        for i in range(1, groups):
            first = gaps[-1] + 1 if gaps else 0
            last = len(before) - (groups - 1 - i)  # leaves a gap for each edge that follows
            nearest = int(np.argmin(np.abs(before[first:last] - i * len(axis.evaluated) / groups)))
            gaps.append(first + nearest)
        return (levels[gaps] + levels[np.array(gaps, dtype=int) + 1]) / 2 if gaps else np.empty(0)
