"""What a data set is: images in memory (or mapped), their labels, and the scale between raw values and unit-variance floats."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

_CHUNK = 4096  # images looked at together


@dataclass(frozen=True)
class ImageData:
    """Images [N,C,H,W], uint8 with values 0..peak or float (latents); labels int64 [N]; `classes` = 0 means unlabelled."""

    images: np.ndarray
    labels: np.ndarray
    classes: int
    peak: int = 255
    known: dict[str, Any] = field(default_factory=dict, compare=False)  # hash and statistics that a file states

    @cached_property
    def key(self) -> str:
        """Hash of the content, whatever file it came from."""
        if "key" in self.known:
            return str(self.known["key"])
        digest = hashlib.sha256(repr((self.images.shape, self.images.dtype.str, self.classes, self.peak)).encode())
        for first in range(0, len(self.images), _CHUNK):
            digest.update(np.ascontiguousarray(self.images[first : first + _CHUNK]).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()

    @cached_property
    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation per channel of the raw values, [C] float64."""
        if "mean" in self.known:
            return np.asarray(self.known["mean"]), np.asarray(self.known["std"])
        sums, squares = np.zeros(self.images.shape[1]), np.zeros(self.images.shape[1])
        shift = self.images[:_CHUNK].mean(axis=(0, 2, 3), dtype=np.float64)  # keeps the digits of the variance
        for first in range(0, len(self.images), _CHUNK):
            values = self.images[first : first + _CHUNK] - shift[:, None, None]
            sums += values.sum(axis=(0, 2, 3))
            squares += (values**2).sum(axis=(0, 2, 3))
        count = self.images.size / self.images.shape[1]
        mean = sums / count
        return mean + shift, np.sqrt(np.maximum(squares / count - mean**2, 1e-12))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        _, c, h, w = self.images.shape
        return c, h, w

    @property
    def pictures(self) -> bool:
        """Whether the values are those of pictures, and not of latents."""
        return self.images.dtype == np.uint8

    def whitened(self, positions: np.ndarray) -> Any:
        """Images at these positions as torch float32 of mean 0 and standard deviation 1 per channel."""
        import torch

        return self.whitening()(torch.from_numpy(self.images[positions]))

    def whitening(self, device: Any = None) -> Callable[[Any], Any]:
        """Maps raw images on a torch device (the CPU's by default) to float32 of mean 0 and standard deviation 1 per channel, there."""
        mean, std = (values.to(device) for values in self._scale())
        return lambda raw: raw.float().sub(mean).div_(std)

    def raw(self, whitened: Any) -> np.ndarray:
        """Back to the data's own values: rounded and clipped to uint8 0..peak for pictures, float32 for latents."""
        mean, std = self._scale()
        values = whitened.cpu() * std + mean
        return values.round().clamp(0, self.peak).byte().numpy() if self.pictures else values.float().numpy()

    def for_features(self, images: np.ndarray) -> np.ndarray:
        """Raw images as float32 of about -1..1, the same map for real and generated ones."""
        if self.pictures:
            return images.astype(np.float32) * np.float32(2.0 / self.peak) - np.float32(1.0)
        mean, std = (v.astype(np.float32)[:, None, None] for v in self.statistics)
        return (images - mean) / (2.0 * std)

    def _scale(self) -> tuple[Any, Any]:
        import torch

        mean, std = self.statistics
        return tuple(torch.from_numpy(v).float().reshape(-1, 1, 1) for v in (mean, std))  # type: ignore[return-value]
