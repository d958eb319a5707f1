"""Stored averages: one safetensors file per time and width, one flat vector inside, so that ranges of it can be read alone."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from trainables import atomic
from trainables.errors import UserError

_PATTERN = "images-{images:012d}-sigma_rel-{sigma_rel:.4f}.safetensors"


@dataclass(frozen=True)
class Snapshot:
    """Where one average is stored, and which it is."""

    path: Path
    images: int
    sigma_rel: float
    size: int  # number of parameters
    checksum: int  # CRC-32 of the vector's bytes

    def read(self, start: int = 0, stop: int | None = None) -> Tensor:
        """The vector's range [start, stop) as stored; the file is mapped, so only that range is read."""
        with safe_open(self.path, framework="pt") as file:
            return file.get_slice("vector")[start : self.size if stop is None else stop]

    def verify(self) -> bool:
        """Whether the stored bytes still have the checksum that they were written with."""
        return _checksum(self.read()) == self.checksum


def write_snapshot(folder: Path, images: int, sigma_rel: float, parameters: Sequence[Tensor], names: Sequence[str]) -> Path:
    """Store one average, float32, atomically; an existing file of the same time and width is replaced."""
    vector = torch.cat([p.detach().reshape(-1).float().cpu() for p in parameters])
    layout = [{"name": n, "shape": list(p.shape)} for n, p in zip(names, parameters, strict=True)]
    metadata = {"images": str(images), "sigma_rel": repr(sigma_rel), "checksum": str(_checksum(vector)), "layout": json.dumps(layout)}
    path = folder / _PATTERN.format(images=images, sigma_rel=sigma_rel)
    atomic.write_with(path, lambda temporary: save_file({"vector": vector}, temporary, metadata))
    return path


def list_snapshots(folder: Path) -> list[Snapshot]:
    """All stored averages of a trial in order of time and width; a damaged file is an error that names it."""
    found = []
    for path in sorted(folder.glob("images-*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata()
                size = file.get_slice("vector").get_shape()[0]
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path}: this snapshot cannot be read ({error}); delete it or restore it") from None
        found.append(Snapshot(path, int(header["images"]), float(header["sigma_rel"]), size, int(header["checksum"])))
    return sorted(found, key=lambda s: (s.images, s.sigma_rel))


def load_vector(vector: Tensor | np.ndarray, module: nn.Module) -> None:
    """Copy a flat vector into the parameters of a module, in their order."""
    flat = torch.as_tensor(vector)
    parameters = list(module.parameters())
    expected = sum(p.numel() for p in parameters)
    if flat.numel() != expected:
        raise UserError(f"the snapshot holds {flat.numel()} parameters, but the network has {expected}: they belong to different recipes")
    with torch.no_grad():
        for parameter, part in zip(parameters, _split(flat, parameters), strict=True):
            parameter.copy_(part)


def _split(flat: Tensor, parameters: Sequence[Tensor]) -> Iterator[Tensor]:
    start = 0
    for parameter in parameters:
        stop = start + math.prod(parameter.shape)
        yield flat[start:stop].view(parameter.shape)
        start = stop


def _checksum(vector: Tensor) -> int:
    return zlib.crc32(vector.contiguous().view(torch.uint8).numpy().data)
