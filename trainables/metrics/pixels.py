"""The pixels themselves as features: no network, no download; for tests of a pipeline, and for very small images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from trainables.data import ImageData
from trainables.errors import ConfigError
from trainables.metrics.features import Extracted, Extractor, Features

MOST = 4096  # features, for a covariance that fits


class Pixels(Features):
    """All values of an image, scaled to about -1..1."""

    kind: Literal["pixels"] = "pixels"

    @property
    def metric(self) -> str:
        return "fd_pixels"

    def prepare(self, data: ImageData, cache: Path, pulse: Callable[[], None] = lambda: None) -> Extractor:
        if not data.pictures:
            raise ConfigError("features pixels: the data are latents; use latent (fd_latent), which is named for what it is")
        if np.prod(data.shape) > MOST:
            raise ConfigError(
                f"features pixels: images of {data.shape} have {np.prod(data.shape)} values; a covariance of more than {MOST} is refused"
            )
        return Extractor(lambda images: Extracted(data.for_features(images).reshape(len(images), -1)), self.hash_of(""))
