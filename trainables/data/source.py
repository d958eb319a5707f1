"""What a data source is: settings of where images come from, read once per process."""

from __future__ import annotations

import abc
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import Field, field_validator

from trainables.data.decoded import decoded
from trainables.data.held_out import split
from trainables.data.images import ImageData
from trainables.files.content import Signature, signatures
from trainables.method import Method


class DataSource(Method, abc.ABC):
    """Settings of where images come from."""

    held_out: float = Field(
        0.0, ge=0, description="images kept out of training and of what scores compare with: a share below 1, or a number"
    )

    decodes: ClassVar[bool] = False  # whether reading is slow enough that its result is kept
    stated: ClassVar[str] = ""  # what a source without files reads; a new text where that changes

    @field_validator("held_out")
    @classmethod
    def _share_or_number(cls, value: float) -> float:
        if value > 1 and value != int(value):
            raise ValueError(f"{value:g} is neither a share below 1 nor a whole number of images")
        return value

    @property
    def resolution(self) -> int | None:
        """Pixels per side, where the settings alone tell."""
        return None

    @property
    def files(self) -> dict[str, tuple[Path, ...]]:
        """Files whose content decides what is read, by the field that names them."""
        return {}

    @abc.abstractmethod
    def read(self) -> ImageData:
        """Read and decode everything; a UserError says which file is missing or broken."""

    def load(self, cache: Path | None = None, pulse: Callable[[], None] = lambda: None) -> ImageData:
        """The images of training, read once per process while the files are the same: later trials of a warm worker find them in memory.

        With a cache, what must be decoded is decoded once per machine, into a file there that all processes map; `pulse` is called
        while another process decodes.
        """
        return _parts(self, cache, pulse)[0]

    def load_held_out(self, cache: Path | None = None, pulse: Callable[[], None] = lambda: None) -> ImageData | None:
        """The images that are kept out of training, if there are any; as in `load`."""
        return _parts(self, cache, pulse)[1]

    def signatures(self) -> tuple[Signature, ...]:
        """What shows without reading that the files are the same as before."""
        return signatures(path for files in self.files.values() for path in files)


def _parts(source: DataSource, cache: Path | None, pulse: Callable[[], None]) -> tuple[ImageData, ImageData | None]:
    found = source.signatures()

    def whole() -> ImageData:
        return decoded(source, source.files, cache, source.read, pulse) if cache and source.decodes else source.read()

    def parts() -> tuple[ImageData, ImageData | None]:
        data = _remembered(_WHOLES, (source.model_copy(update={"held_out": 0.0}), found), whole)
        return split(data, source.held_out) if source.held_out else (data, None)

    return _remembered(_PARTS, (source, found), parts)


T = TypeVar("T")
_WHOLES: dict[Hashable, ImageData] = {}
_PARTS: dict[Hashable, tuple[ImageData, ImageData | None]] = {}


def _remembered(kept: dict[Hashable, T], key: Hashable, make: Callable[[], T]) -> T:
    """What was made of this key before, if it is one of the last two."""
    kept[key] = kept.pop(key) if key in kept else make()
    while len(kept) > 2:
        del kept[next(iter(kept))]
    return kept[key]
