"""Image data sets in Parquet as Hugging Face lays them out: a struct column {bytes, path} and an integer label column."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from trainables.data.decode import decode
from trainables.data.images import ImageData
from trainables.data.source import DataSource
from trainables.errors import UserError, did_you_mean
from trainables.files.content import LocalPath


class Parquet(DataSource):
    """One file or a folder of files; all images must have one size."""

    decodes = True

    kind: Literal["parquet"] = "parquet"
    path: LocalPath = Field(description="a Parquet file, or a folder of them")
    image_column: str = Field("image", description="column of encoded images")
    label_column: str | None = Field("label", description="column of integer labels; null for unlabelled data")
    limit: int | None = Field(None, ge=1, description="take only the first so many images")
    on_bad: Literal["fail", "skip"] = Field("fail", description="what to do with an image that cannot be decoded")

    @property
    def files(self) -> dict[str, tuple[Path, ...]]:
        return {"path": self._files()}

    def read(self) -> ImageData:
        import pyarrow as pa
        import pyarrow.parquet as pq

        files = self._files()
        wanted = [c for c in (self.image_column, self.label_column) if c]
        try:
            names = pq.read_schema(files[0]).names
            for column in wanted:
                if column not in names:
                    raise UserError(f"{files[0]}: there is no column '{column}'. Columns: {', '.join(names)}.{did_you_mean(column, names)}")
            table = pa.concat_tables([pq.read_table(f, columns=wanted) for f in files])
        except pa.ArrowException as error:
            raise UserError(f"{self.path}: not readable as Parquet ({error})") from None
        table = table.slice(0, self.limit)
        images, kept = decode(_encoded(table.column(self.image_column)), str(self.path), self.on_bad)
        labels = np.zeros(len(kept), dtype=np.int64)
        if self.label_column:
            labels = table.column(self.label_column).to_numpy().astype(np.int64)[kept]
            if labels.min() < 0:
                raise UserError(f"{self.path}: column '{self.label_column}' holds negative labels; they must be 0, 1, 2, ...")
        return ImageData(images, labels, classes=int(labels.max()) + 1 if self.label_column else 0)

    def _files(self) -> tuple[Path, ...]:
        path = self.path
        files = tuple(sorted(path.glob("*.parquet"))) if path.is_dir() else (path,)
        if not files or not files[0].is_file():
            raise UserError(f"data: {path}: no Parquet file there; give the path of a file or of a folder that holds some")
        return files


def _encoded(column: Any) -> Iterator[tuple[str, bytes]]:
    for row, cell in enumerate(column):
        yield f"image {row}", cell["bytes"].as_py() if hasattr(cell, "keys") else cell.as_py()
