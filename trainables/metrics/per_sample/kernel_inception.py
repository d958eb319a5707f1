"""The kernel distance."""

from __future__ import annotations

from typing import Literal

from trainables.metrics.kid import kernel_distance
from trainables.metrics.per_sample.sample_metric import Compared, SampleMetric


class Kid(SampleMetric):
    """KID (Binkowski et al. 2018): the squared maximum mean discrepancy of a cubic kernel, with its standard error."""

    kind: Literal["kid"] = "kid"

    def names(self, space: str) -> tuple[str, ...]:
        return (f"kid_{space}",)

    def of(self, images: Compared) -> dict[str, float]:
        mean, error = kernel_distance(images.made.features, images.real)
        return {f"kid_{images.space}": mean, f"kid_{images.space}_se": error}
