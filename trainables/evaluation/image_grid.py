"""Contact sheets of generated images."""

from __future__ import annotations

import io
import math

import numpy as np

from trainables.data import ImageData

_SHEET = 512  # pixels; smaller images are enlarged by a whole factor so that they can be looked at
_GAP, _BACKGROUND = 4, (88, 102, 122)


def png(images_NCHW: np.ndarray, data: ImageData, columns: int = 0) -> bytes:
    """Raw images [N,C,H,W] in so many columns (0: as many as rows), as PNG bytes.

    Of latents and other channel counts, the first channel in grey.
    """
    from PIL import Image

    n, c, h, w = images_NCHW.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    scale = max(1, _SHEET // (columns * max(h, w)))
    height, width = h * scale + _GAP, w * scale + _GAP
    sheet = np.full((rows * height + _GAP, columns * width + _GAP, 3), _BACKGROUND, dtype=np.uint8)
    pixels = (np.clip(data.for_features(images_NCHW) * 0.5 + 0.5, 0, 1) * 255).round().astype(np.uint8)
    pixels = np.broadcast_to(pixels[:, :1], (n, 3, h, w)) if c != 3 else pixels
    for i, image in enumerate(pixels):
        top, left = i // columns * height + _GAP, i % columns * width + _GAP
        sheet[top : top + h * scale, left : left + w * scale] = image.transpose(1, 2, 0).repeat(scale, 0).repeat(scale, 1)
    out = io.BytesIO()
    Image.fromarray(sheet).save(out, "PNG", optimize=True)
    return out.getvalue()
