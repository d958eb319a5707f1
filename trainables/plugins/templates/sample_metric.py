"""My metric of samples."""

from __future__ import annotations

from typing import Literal

import numpy as np

from trainables.metrics.per_sample.sample_metric import Compared, SampleMetric


class MyMethod(SampleMetric):
    """Mean absolute difference of the medians of generated and real features."""

    kind: Literal["my_method"] = "my_method"

    def names(self, space: str) -> tuple[str, ...]:
        """What searches may name as an objective or constraint, in a feature space of this name."""
        return (f"my_method_{space}",)

    def of(self, images: Compared) -> dict[str, float]:
        made, real = (np.median(features, axis=0) for features in (images.made.features, images.real))
        return {f"my_method_{images.space}": float(np.abs(made - real).mean())}
