"""Stored classical averages of a run: one flat file per time and baseline, beside those of the power functions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from trainables.ema.flat_file import WAY_OUT, FlatFile, open_flat, write_flat
from trainables.errors import Damaged
from trainables.files.storage import storage_of

PATTERN = "classical-*.safetensors"


def classical_name(folder: Path | str, images: int, name: str) -> str:
    """Path or URL of an average."""
    return f"{str(folder).rstrip('/')}/classical-{images:012d}-{name}.safetensors"


def write_classical(folder: Path | str, images: int, name: str, average: Sequence[Tensor], names: Sequence[str], dtype: str) -> None:
    """Store one average atomically; `names` are those of its tensors."""
    layout = [{"name": n, "shape": list(p.shape)} for n, p in zip(names, average, strict=True)]
    write_flat(classical_name(folder, images, name), average, dtype, {"images": str(images), "name": name, "layout": json.dumps(layout)})


def read_classical(folder: Path | str, images: int, name: str) -> Tensor:
    """The average as one vector, float32; Damaged where it is missing or does not match its checksums."""
    file: FlatFile = open_flat(classical_name(folder, images, name))
    if not file.verify():
        raise Damaged(f"{file.location}: does not match its checksums; {WAY_OUT}")
    return file.read().float()


def stored_classical(folder: Path | str) -> list[tuple[int, str]]:
    """Time and location of all of them."""
    found = storage_of(str(folder)).find(str(folder), PATTERN)
    return [(int(location.rpartition("/")[2].split("-")[1]), location) for location in found]
