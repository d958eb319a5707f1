"""Scores over images, levels or lengths, and their means."""

from __future__ import annotations

import math
from collections.abc import Sequence

Points = Sequence[tuple[float, float]]


def geometric_means(curves: Sequence[Points]) -> list[tuple[float, float]]:
    """Geometric means over curves, at the places that all of them have."""
    at = [dict(points) for points in curves]
    common = sorted(set.intersection(*(set(values) for values in at))) if at else []
    return [(x, math.exp(sum(math.log(values[x]) for values in at) / len(at))) for x in common if all(values[x] > 0 for values in at)]
