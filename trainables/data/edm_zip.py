"""Data sets in the layout of EDM's tools: a zip (or folder) of images with labels in dataset.json; also of latents (.npy)."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from pydantic import Field

from trainables.data.decode import decode
from trainables.data.images import ImageData
from trainables.data.source import DataSource
from trainables.errors import UserError
from trainables.files.content import LocalPath

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


class EdmZip(DataSource):
    """Images named anywhere in the archive; `dataset.json` holds {"labels": [[name, label], ...]} or null."""

    decodes = True

    kind: Literal["edm_zip"] = "edm_zip"
    path: LocalPath = Field(description="zip file")
    labelled: bool = Field(True, description="whether to use the labels")
    on_bad: Literal["fail", "skip"] = Field("fail", description="what to do with an image that cannot be decoded")

    @property
    def files(self) -> dict[str, tuple[Path, ...]]:
        return {"path": (self.path,)}

    def read(self) -> ImageData:
        try:
            archive = zipfile.ZipFile(self.path)
        except (OSError, zipfile.BadZipFile) as error:
            raise UserError(f"data: {self.path}: cannot be read as a zip file ({error})") from None
        with archive:
            names = sorted(n for n in archive.namelist() if PurePosixPath(n).suffix.lower() in (*_PICTURES, ".npy"))
            if not names:
                raise UserError(f"data: {self.path}: holds no images ({', '.join(_PICTURES)}) and no latents (.npy)")
            labels = self._labels(archive, names)
            if names[0].endswith(".npy"):
                images = np.stack([np.load(io.BytesIO(archive.read(n)), allow_pickle=False) for n in names]).astype(np.float32)
                kept = np.arange(len(names))
            else:
                images, kept = decode(((n, archive.read(n)) for n in names), str(self.path), self.on_bad)
        return ImageData(images, labels[kept], classes=int(labels.max()) + 1 if self.labelled else 0)

    def _labels(self, archive: zipfile.ZipFile, names: list[str]) -> np.ndarray:
        if not self.labelled:
            return np.zeros(len(names), dtype=np.int64)
        described = next((n for n in archive.namelist() if Path(n).name == "dataset.json"), None)
        entries = json.loads(archive.read(described)).get("labels") if described else None
        if not entries:
            raise UserError(f"data: {self.path}: holds no labels in dataset.json; labelled: false reads it without")
        by_name = {str(name): label for name, label in entries}
        missing = [n for n in names if n not in by_name]
        if missing:
            raise UserError(f"data: {self.path}: dataset.json has no label for {missing[0]} ({len(missing)} such images)")
        return np.asarray([by_name[n] for n in names], dtype=np.int64)
