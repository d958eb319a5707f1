"""Data sets of torchvision: CIFAR-10, MNIST, Fashion-MNIST, and folders of images by class."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from trainables.data.decode import decode
from trainables.data.images import ImageData
from trainables.data.source import DataSource
from trainables.errors import UserError
from trainables.files.content import LocalPath


class Torchvision(DataSource):
    """A set that torchvision can read from (or fetch into) a folder."""

    kind: Literal["torchvision"] = "torchvision"
    name: Literal["CIFAR10", "MNIST", "FashionMNIST"] = Field(description="name of the data set")
    root: LocalPath = Field(description="folder that holds it, or into which it is fetched")
    split: Literal["train", "test"] = Field("train", description="which part")
    download: bool = Field(False, description="fetch it from its publisher if it is not there")

    @property
    def resolution(self) -> int:
        return 32 if self.name == "CIFAR10" else 28

    @property
    def files(self) -> dict[str, tuple[Path, ...]]:
        if not self._found() and self.download:
            self.read()
        return {"root": self._found()}

    def _found(self) -> tuple[Path, ...]:
        folder = self.root / ("cifar-10-batches-py" if self.name == "CIFAR10" else f"{self.name}/raw")  # torchvision's own names
        return tuple(path for path in sorted(folder.glob("*")) if path.is_file())

    def read(self) -> ImageData:
        import torchvision

        try:
            found = getattr(torchvision.datasets, self.name)(self.root, train=self.split == "train", download=self.download)
        except (RuntimeError, OSError) as error:
            raise UserError(f"data: {self.name} in {self.root}: {error} (download: true fetches it)") from None
        images = np.asarray(found.data)
        images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
        labels = np.asarray(found.targets, dtype=np.int64)
        return ImageData(np.ascontiguousarray(images), labels, classes=len(found.classes))


class ImageFolder(DataSource):
    """One sub-folder per class, any format that Pillow reads; all images must have one size."""

    decodes = True

    kind: Literal["image_folder"] = "image_folder"
    root: LocalPath = Field(description="folder with a sub-folder per class")
    on_bad: Literal["fail", "skip"] = Field("fail", description="what to do with an image that cannot be decoded")

    @property
    def files(self) -> dict[str, tuple[Path, ...]]:
        return {"root": tuple(path for path in sorted(self.root.rglob("*")) if path.is_file())}

    def read(self) -> ImageData:
        from torchvision.datasets import ImageFolder as Finder

        try:
            samples = Finder(self.root, loader=Path.read_bytes).samples
        except (FileNotFoundError, OSError) as error:
            raise UserError(f"data: {self.root}: {error}; it needs a sub-folder with images for each class") from None
        images, kept = decode(((str(path), Path(path).read_bytes()) for path, _ in samples), str(self.root), self.on_bad)
        labels = np.asarray([label for _, label in samples], dtype=np.int64)
        return ImageData(images, labels[kept], classes=int(labels.max()) + 1)


