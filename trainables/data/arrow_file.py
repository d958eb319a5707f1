"""Images in one Arrow file that is read by mapping it into memory, with their hash and statistics in its header."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from trainables.data.images import ImageData
from trainables.errors import UserError
from trainables.files import atomic


def read_arrow(path: Path) -> ImageData:
    """Map a file that `write_arrow` wrote; UserError where it is none."""
    import pyarrow as pa

    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        known = json.loads(table.schema.metadata[b"snrlab"])
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise UserError(f"data: {path}: is not a file that `snrlab data import` wrote ({error})") from None
    images = np.frombuffer(table.column("image").chunk(0).buffers()[1], dtype=known["dtype"]).reshape(known["shape"])
    return ImageData(images, table.column("label").to_numpy(), known["classes"], known["peak"], known)


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
