"""What a feature extractor is: settings that can turn images into feature vectors."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.data import ImageData
from trainables.errors import ConfigError
from trainables.files.content import Signature, signatures
from trainables.method import Method


@dataclass(frozen=True)
class Extracted:
    """Features float32 [N, dim]; class logits [N, K] where the extractor is a classifier on which the inception score is defined."""

    features: np.ndarray
    logits: np.ndarray | None = None


@dataclass(frozen=True)
class Extractor:
    """A feature network that is ready for use, with a hash of everything that decides its features but the images."""

    extract: Callable[[np.ndarray], Extracted]  # of raw images [N,C,H,W]
    hash: str

    def __call__(self, images: np.ndarray) -> Extracted:
        return self.extract(images)


class Features(Method, abc.ABC):
    """Made ready once (trained or loaded), then used for every image that is compared."""

    @property
    @abc.abstractmethod
    def metric(self) -> str:
        """Name of the Fréchet distance in this feature space."""

    @abc.abstractmethod
    def prepare(self, data: ImageData, cache: Path, pulse: Callable[[], None] = lambda: None) -> Extractor:
        """The extractor for a data set; `cache` is a folder for what is worth keeping between runs, `pulse` is called meanwhile."""

    @property
    def space(self) -> str:
        """Name of the feature space in the names of other metrics."""
        return self.metric.removeprefix("fd_")

    @property
    def dimensions(self) -> int | None:
        """Number of features, where the settings alone tell."""
        return None

    def check_files(self) -> None:
        """ConfigError where a file is missing or is not the right one; called before anything is started."""

    @property
    def files(self) -> dict[str, tuple[Path, ...]]:
        """Files whose content decides the features, by the field that names them."""
        return {}

    def signatures(self) -> tuple[Signature, ...]:
        """What shows without reading that the files are the same as before."""
        return signatures(path for files in self.files.values() for path in files)

    def hash_of(self, content: str) -> str:
        """SHA-256, hexadecimal, of the settings and of the content of weights, wherever they lie."""
        settings = self.model_dump_json(exclude={*self.files, "sha256"})
        return hashlib.sha256(f"{settings}\0{content}".encode()).hexdigest()


def few_samples(field: str, samples: int, space: Features) -> str:
    """A warning where a covariance is estimated from fewer samples than features; empty where they are enough or it is not known."""
    if space.dimensions is None or samples >= space.dimensions:
        return ""
    return (
        f"{field} = {samples} is less than the {space.dimensions} features of {space.metric}: the covariance has no full rank, and the "
        "distance depends on the number of samples more than on the images; compare it at this number alone"
    )


def check_weights(path: Path, sha256: str, what: str, how_to_get: str) -> None:
    """ConfigError unless the file is there and its SHA-256 begins with the one wanted (`sha256` may be a prefix or empty)."""
    if not path.is_file():
        raise ConfigError(f"{what}: its weights were looked for at {path} and are not there. {how_to_get}")
    if sha256:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if not found.startswith(sha256.lower()):
            raise ConfigError(f"{what}: {path} has SHA-256 {found}, and {sha256} is wanted: it is another file, or damaged. {how_to_get}")


def rgb(images: np.ndarray, data: ImageData, what: str) -> np.ndarray:
    """uint8 pictures [N, 3, H, W] with values 0..255 of the data's own raw images."""
    if not data.pictures or images.shape[1] not in (1, 3):
        raise ConfigError(f"{what}: wants grey or RGB pictures; the data are {images.dtype} with {images.shape[1]} channels")
    if data.peak != 255:
        images = np.round(images * (255.0 / data.peak)).astype(np.uint8)
    return np.repeat(images, 3, axis=1) if images.shape[1] == 1 else images
