"""A data set, a sampler, a feature space and a metric in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from trainables.data.images import ImageData
from trainables.data.source import DataSource
from trainables.metrics.features import Extracted, Extractor, Features
from trainables.metrics.per_sample.sample_metric import Compared, SampleMetric
from trainables.sampling.edm_steps import AlongEdmSteps

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.sampling.sampler import Denoise, FreshNoise


class LabDiscs(DataSource):
    """Discs of two sizes."""

    kind: Literal["lab_discs"] = "lab_discs"
    count: int = Field(512, ge=2, description="images")

    stated: ClassVar[str] = "discs, first version"

    @property
    def resolution(self) -> int:
        return 8

    def read(self) -> ImageData:
        draws = np.random.default_rng(0)
        labels = draws.integers(0, 2, self.count)
        x, y = draws.uniform(2, 6, (2, self.count, 1, 1))
        row, column = np.mgrid[:8, :8]
        inside = (row - y) ** 2 + (column - x) ** 2 < (1.5 + labels[:, None, None]) ** 2
        return ImageData((inside[:, None] * 255).astype(np.uint8), labels.astype(np.int64), classes=2)


class LabEuler(AlongEdmSteps):
    """Euler's steps."""

    kind: Literal["lab_euler"] = "lab_euler"

    def sample(self, denoise: Denoise, noise: Tensor, fresh_noise: FreshNoise | None = None) -> Tensor:
        steps, x = self.start(noise)
        for i in range(self.num_steps):
            x = x + (steps[i + 1] - steps[i]).to(x.dtype) * (x - denoise(x, steps[i])) / steps[i].to(x.dtype)
        return x


class LabGap(SampleMetric):
    """Distance of the medians."""

    kind: Literal["lab_gap"] = "lab_gap"

    def names(self, space: str) -> tuple[str, ...]:
        return (f"lab_gap_{space}",)

    def of(self, images: Compared) -> dict[str, float]:
        made, real = (np.median(features, axis=0) for features in (images.made.features, images.real))
        return {f"lab_gap_{images.space}": float(np.abs(made - real).mean())}


class LabMeans(Features):
    """Means of rows and columns."""

    kind: Literal["lab_means"] = "lab_means"

    @property
    def metric(self) -> str:
        return "fd_lab_means"

    def prepare(self, data: ImageData, cache: Path, pulse: Callable[[], None] = lambda: None) -> Extractor:
        def extract(images: np.ndarray) -> Extracted:
            values = data.for_features(images)
            means = [values.mean(axis=axis).reshape(len(images), -1) for axis in (2, 3)]
            return Extracted(np.concatenate(means, axis=1).astype(np.float32))

        return Extractor(extract, self.hash_of(""))
