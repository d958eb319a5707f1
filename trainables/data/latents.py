"""Precomputed latents of an autoencoder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from trainables.data.images import ImageData
from trainables.data.source import DataSource
from trainables.errors import UserError
from trainables.files.content import LocalPath


class Latents(DataSource):
    """Precomputed latents in safetensors ("latents" [N,C,H,W], optionally "labels" [N])."""

    kind: Literal["latents"] = "latents"
    path: LocalPath = Field(description="safetensors file")
    scale: float = Field(1.0, gt=0, description="scale of the autoencoder: stored values are divided by it")
    shift: float = Field(0.0, description="shift of the autoencoder: added after the scale")

    @property
    def files(self) -> dict[str, tuple[Path, ...]]:
        return {"path": (self.path,)}

    def read(self) -> ImageData:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            tensors = load_file(self.path)
        except (OSError, SafetensorError) as error:
            raise UserError(f"data: {self.path}: cannot be read as safetensors ({error})") from None
        latents = tensors.get("latents")
        if latents is None or latents.ndim != 4:
            raise UserError(f"data: {self.path}: needs a tensor 'latents' [N,C,H,W]; it holds {', '.join(tensors) or 'nothing'}")
        labels = tensors.get("labels")
        values = latents.astype(np.float32) / np.float32(self.scale) + np.float32(self.shift)
        known = np.zeros(len(values), dtype=np.int64) if labels is None else labels.astype(np.int64)
        return ImageData(values, known, classes=0 if labels is None else int(known.max()) + 1)
