"""What a data source is: settings of where images come from, read once per process."""

from __future__ import annotations

import abc
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from trainables.data.held_out import split
from trainables.data.images import ImageData
from trainables.files.content import Signature, signatures
from trainables.method import Method


class DataSource(Method, abc.ABC):
    """Settings of where images come from."""

    held_out: float = Field(
        0.0, ge=0, description="images kept out of training and of what scores compare with: a share below 1, or a number"
    )

    stated: ClassVar[str] = ""  # what a source without files reads; a new text where that changes

    @field_validator("held_out")
    @classmethod
    def _share_or_number(cls, value: float) -> float:
        if value > 1 and value != int(value):
            raise ValueError(f"{value:g} is neither a share below 1 nor a whole number of images")
        return value

    @property
    def files(self) -> dict[str, tuple[Path, ...]]:
        """Files whose content decides what is read, by the field that names them."""
        return {}

    @abc.abstractmethod
    def read(self) -> ImageData:
        """Read and decode everything; a UserError says which file is missing or broken."""

    def load(self) -> ImageData:
        """The images of training, read once per process while the files are the same: later trials of a warm worker find them in memory."""
        return _parts(self, self.signatures())[0]

    def load_held_out(self) -> ImageData | None:
        """The images that are kept out of training, if there are any."""
        return _parts(self, self.signatures())[1]

    def signatures(self) -> tuple[Signature, ...]:
        """What shows without reading that the files are the same as before."""
        return signatures(path for files in self.files.values() for path in files)


@lru_cache(maxsize=2)
def _parts(source: DataSource, signatures: tuple[Signature, ...]) -> tuple[ImageData, ImageData | None]:
    whole = _load(source.model_copy(update={"held_out": 0.0}), signatures)
    return split(whole, source.held_out) if source.held_out else (whole, None)


@lru_cache(maxsize=2)
def _load(source: DataSource, _: tuple[Signature, ...]) -> ImageData:
    return source.read()
