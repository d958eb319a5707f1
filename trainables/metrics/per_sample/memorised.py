"""The share of copies of training images."""

from __future__ import annotations

from typing import ClassVar, Literal

from trainables.metrics.per_sample.sample_metric import Compared, SampleMetric


class MemorisedShare(SampleMetric):
    """Share of images nearer to a training image than 95 % of the held-out ones: 0.05 where none is memorised."""

    kind: Literal["memorisation"] = "memorisation"

    needs_held_out: ClassVar[bool] = True

    def names(self, space: str) -> tuple[str, ...]:
        return (f"memorisation_{space}",)

    def of(self, images: Compared) -> dict[str, float]:
        """None: the evaluator itself looks, for the nearest images as well (trainables/metrics/memorisation.py)."""
        return {}
