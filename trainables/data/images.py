"""What a data set is: images in memory as bytes, their labels, and the scale between bytes and unit-variance floats."""

from __future__ import annotations

import abc
import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from trainables.method import Method


@dataclass(frozen=True)
class ImageData:
    """Images uint8 [N,C,H,W] with values 0..peak, labels int64 [N]; `classes` = 0 means unlabelled."""

    images: np.ndarray
    labels: np.ndarray
    classes: int
    peak: int = 255

    @cached_property
    def key(self) -> str:
        """Hash of the content, whatever file it came from."""
        digest = hashlib.sha256(repr((self.images.shape, self.classes, self.peak)).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()

    @cached_property
    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation per channel of the raw values, [C] float64."""
        counts = np.stack([np.bincount(self.images[:, c].reshape(-1), minlength=256) for c in range(self.images.shape[1])])
        values = np.arange(counts.shape[1])
        total = counts.sum(axis=1)
        mean = counts @ values / total
        variance = counts @ values**2 / total - mean**2
        return mean, np.sqrt(np.maximum(variance, 1e-12))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        _, c, h, w = self.images.shape
        return c, h, w

    def whitened(self, positions: np.ndarray) -> Any:
        """Images at these positions as torch float32 of mean 0 and standard deviation 1 per channel."""
        import torch

        mean, std = self._scale()
        return (torch.from_numpy(self.images[positions]).float() - mean) / std

    def to_bytes(self, whitened: Any) -> np.ndarray:
        """Back to uint8 0..peak, rounded and clipped."""
        mean, std = self._scale()
        return (whitened.cpu() * std + mean).round().clamp(0, self.peak).byte().numpy()

    def _scale(self) -> tuple[Any, Any]:
        import torch

        mean, std = self.statistics
        return tuple(torch.from_numpy(v).float().reshape(-1, 1, 1) for v in (mean, std))  # type: ignore[return-value]


class DataSource(Method, abc.ABC):
    """Settings of where images come from."""

    @abc.abstractmethod
    def read(self) -> ImageData:
        """Read and decode everything; a UserError says which file is missing or broken."""

    def load(self) -> ImageData:
        """`read`, once per process and settings: later trials of a warm worker find the images in memory."""
        return _load(self)


@lru_cache(maxsize=2)
def _load(source: DataSource) -> ImageData:
    return source.read()
