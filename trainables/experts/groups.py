"""The groups of noise levels that a split makes: each level belongs to exactly one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from trainables.errors import ConfigError
from trainables.experts.splits.split import Axis, Split
from trainables.schedules.restricted import NARROWEST, Levels


def split_levels(split: Split, groups: int, axis: Axis) -> tuple[float, ...]:
    """The inner edges in log SNR, rising [groups - 1]; ConfigError where groups would be empty."""
    try:
        edges = tuple(float(edge) for edge in split.edges(groups, axis))
        for a, b in pairwise(edges):
            if b - a < NARROWEST:
                raise ValueError(f"the group from log SNR {a:g} to {b:g} is empty: it must be at least {NARROWEST} wide")
    except ValueError as error:
        raise ConfigError(f"experts.split: {error}") from None
    return edges


def levels_of(edges: Sequence[float]) -> tuple[Levels | None, ...]:
    """Each group's interval, from noise to data; None, which is all levels, where there is one group."""
    ends = [None, *edges, None]
    return tuple(None if low is None and high is None else Levels(low=low, high=high) for low, high in pairwise(ends))


def group_of(edges: Sequence[float], log_snr: float) -> int:
    """The number of a level's group, from 0 at the noise; an edge belongs to the group above it."""
    return int(np.searchsorted(np.asarray(edges), log_snr, side="right"))


def inside(levels: Levels | None, axis: Axis) -> tuple[float, float]:
    """The part of a group's interval that lies in the sampler's range; the whole interval's end nearest to it where none does."""
    low, high = axis.range
    if levels is None:
        return low, high
    a = low if levels.low is None else levels.low
    b = high if levels.high is None else levels.high
    return (max(a, low), min(b, high)) if max(a, low) < min(b, high) else (min(a, b), max(a, b))
