"""Latents themselves as features: a Fréchet distance in latent space, where no decoder is at hand. It is never called FID."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from trainables.data import ImageData
from trainables.errors import ConfigError
from trainables.metrics.features import Extracted, Extractor, Features
from trainables.metrics.pixels import MOST


class Latent(Features):
    """All values of a latent, each channel of standard deviation 1/2; comparable between runs on the latents of one autoencoder alone."""

    kind: Literal["latent"] = "latent"
    pool: int = Field(1, ge=1, le=64, description="side of the squares of places that are averaged, for latents of many values")

    @property
    def metric(self) -> str:
        return "fd_latent"

    def prepare(self, data: ImageData, cache: Path, pulse: Callable[[], None] = lambda: None) -> Extractor:
        channels, height, width = data.shape
        if data.pictures:
            raise ConfigError("features latent: the data are pictures; use pixels, probe, inception or dinov2")
        if height % self.pool or width % self.pool:
            raise ConfigError(f"features latent: pool = {self.pool} does not divide latents of {height}x{width}")
        if (values := channels * height * width // self.pool**2) > MOST:
            raise ConfigError(
                f"features latent: {values} values of latents {data.shape} with pool = {self.pool}; a covariance of more than {MOST} is "
                "refused: use a larger pool"
            )
        return Extractor(lambda latents: Extracted(self._pooled(data.for_features(latents))), self.hash_of(""))

    def _pooled(self, latents: np.ndarray) -> np.ndarray:
        count, channels, height, width = latents.shape
        squares = latents.reshape(count, channels, height // self.pool, self.pool, width // self.pool, self.pool)
        return squares.mean(axis=(3, 5), dtype=np.float32).reshape(count, -1)
