"""Images that are kept out of training: which they are, and views of the two parts of a data set."""

from __future__ import annotations

import hashlib
from typing import Any, cast

import numpy as np

from trainables.data.images import ImageData
from trainables.errors import ConfigError
from trainables.randomness import uniform

_SEED = 0  # part of the definition, not of a study: all variants and seeds keep out the same images


def split(data: ImageData, held_out: float) -> tuple[ImageData, ImageData]:
    """(images of training, images held out): a share below 1 or a number of them, by position in the data alone.

    More images held out contain those of fewer.  Both parts are scaled by mean and deviation of the whole.  ConfigError where
    nothing would be left.
    """
    count = max(round(held_out * len(data.images)), 1) if held_out < 1 else int(held_out)
    if count >= len(data.images):
        raise ConfigError(f"data.held_out: {count} of {len(data.images)} images would leave none to train on; use fewer")
    order = np.argsort(uniform(_SEED, "held out", 0, len(data.images)), kind="stable")
    return _part(data, np.sort(order[count:])), _part(data, order[:count])


class Rows:
    """Some rows of an array, which may be mapped from a file: they are read when they are asked for."""

    def __init__(self, whole: np.ndarray, positions: np.ndarray) -> None:
        self._whole, self._positions = whole, positions
        self.shape, self.dtype = (len(positions), *whole.shape[1:]), whole.dtype
        self.size = int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, chosen: Any) -> np.ndarray:
        return self._whole[self._positions[chosen]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)


def _part(data: ImageData, positions: np.ndarray) -> ImageData:
    mean, std = data.statistics
    key = hashlib.sha256(data.key.encode() + positions.tobytes()).hexdigest()
    images = cast(np.ndarray, Rows(data.images, positions))
    return ImageData(images, data.labels[positions], data.classes, data.peak, {"key": key, "mean": mean, "std": std})
