"""Encoded pictures to one array; a broken one is named, and fatal or left out, never silent."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable

import numpy as np

from trainables.errors import UserError

log = logging.getLogger(__name__)


def decode(encoded: Iterable[tuple[str, bytes]], where: str, on_bad: str) -> tuple[np.ndarray, np.ndarray]:
    """(images uint8 [N,C,H,W], indices of those that were kept) from (name, bytes) pairs of any format that Pillow reads."""
    from PIL import Image, UnidentifiedImageError

    decoded, kept, bad = [], [], 0
    for index, (name, content) in enumerate(encoded):
        try:
            with Image.open(io.BytesIO(content)) as image:
                decoded.append(np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB")))
            kept.append(index)
        except (UnidentifiedImageError, OSError, TypeError) as error:
            if on_bad == "fail":
                raise UserError(f"{where}: {name} cannot be decoded ({error}); on_bad: skip leaves such images out") from None
            bad += 1
            log.warning("%s: %s cannot be decoded (%s); left out", where, name, error)
    if not decoded:
        raise UserError(f"{where}: holds no image that can be decoded")
    if bad:
        log.warning("%s: %d of %d images left out", where, bad, bad + len(kept))
    return stacked(decoded, where), np.asarray(kept)


def stacked(images: list[np.ndarray], where: str) -> np.ndarray:
    """Images [H,W] or [H,W,C] of one shape as [N,C,H,W]."""
    shapes = {image.shape for image in images}
    if len(shapes) != 1:
        raise UserError(f"{where}: images of {len(shapes)} different shapes ({sorted(shapes)[:3]} ...); they must be equal")
    array = np.stack(images)
    return np.ascontiguousarray(array[:, None] if array.ndim == 3 else array.transpose(0, 3, 1, 2))
