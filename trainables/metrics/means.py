"""Means of scores over training seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

_ON_THE_LOG_SCALE = ("fd_", "fid", "held_out_loss", "macs", "parameters", "train_seconds", "gpu_seconds",
                     "inception_score")


def has_log_scale(metric: str) -> bool:
    """Whether a metric is positive and its spread grows with it: distances, losses and costs, not shares and KID."""
    return metric.startswith(_ON_THE_LOG_SCALE)


def mean_score(metric: str, values: Sequence[float]) -> float:
    """Over seeds: geometric for metrics on the log scale, else arithmetic."""
    if len(values) == 1:
        return float(values[0])
    if has_log_scale(metric) and all(value > 0 for value in values):
        return math.exp(math.fsum(map(math.log, values)) / len(values))
    return math.fsum(values) / len(values)
