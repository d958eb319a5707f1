"""Metrics of samples beside the Fréchet distance: a file each, found by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.method import kinds_in, one_of
from trainables.metrics.per_sample.sample_metric import Compared, SampleMetric

KINDS = kinds_in(__name__, SampleMetric)

if TYPE_CHECKING:
    AnySampleMetric = SampleMetric
else:
    AnySampleMetric = one_of(KINDS)

__all__ = ["KINDS", "AnySampleMetric", "Compared", "SampleMetric"]
