"""The fast layout of our own: one Arrow file, read by mapping it into memory, with its hash and statistics in the header."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from trainables.data.arrow_file import read_arrow
from trainables.data.images import ImageData
from trainables.data.source import DataSource
from trainables.errors import UserError
from trainables.files.content import LocalPath


class Arrow(DataSource):
    """What `snrlab data import` writes; nothing is copied or decoded when it is read."""

    kind: Literal["arrow"] = "arrow"
    path: LocalPath = Field(description="file written by `snrlab data import`")
    verify: bool = Field(False, description="hash the content before use")

    @property
    def files(self) -> dict[str, tuple[Path, ...]]:
        return {"path": (self.path,)}

    def read(self) -> ImageData:
        data = read_arrow(self.path)
        if self.verify and replace(data, known={}).key != data.key:
            raise UserError(f"data: {self.path}: is damaged (its content does not have the hash that it states); import it again")
        return data
