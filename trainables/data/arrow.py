"""The fast layout of our own: one Arrow file, read by mapping it into memory, with its hash and statistics in the header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from trainables.data.images import ImageData
from trainables.data.source import DataSource
from trainables.errors import UserError
from trainables.files import atomic
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
        import pyarrow as pa

        try:
            table = pa.ipc.open_file(pa.memory_map(str(self.path))).read_all()
            known = json.loads(table.schema.metadata[b"snrlab"])
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise UserError(f"data: {self.path}: is not a file that `snrlab data import` wrote ({error})") from None
        images = np.frombuffer(table.column("image").chunk(0).buffers()[1], dtype=known["dtype"]).reshape(known["shape"])
        labels = table.column("label").to_numpy()
        data = ImageData(images, labels, known["classes"], known["peak"], known)
        if self.verify and ImageData(images, labels, data.classes, data.peak).key != known["key"]:
            raise UserError(f"data: {self.path}: is damaged (its content does not have the hash that it states); import it again")
        return data


def write_arrow(data: ImageData, path: Path) -> None:
    """Write a data set in this layout, atomically."""
    import pyarrow as pa

    mean, std = data.statistics
    known = {
        "key": data.key, "shape": list(data.images.shape), "dtype": data.images.dtype.str, "classes": data.classes, "peak": data.peak,
        "mean": mean.tolist(), "std": std.tolist(),
    }
    images = np.ascontiguousarray(data.images)
    width = images.nbytes // len(images)
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(images), [None, pa.py_buffer(images)])
    schema = pa.schema([("image", pa.binary(width)), ("label", pa.int64())], metadata={"snrlab": json.dumps(known)})
    batch = pa.record_batch([column, pa.array(data.labels)], schema=schema)

    def write(temporary: Path) -> None:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            writer.write_batch(batch)

    atomic.write_with(path, write)
