"""Stored averages of a run: one flat file per time and width."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from trainables.ema.classical_snapshots import stored_classical
from trainables.ema.flat_file import WAY_OUT, FlatFile, open_flat, write_flat
from trainables.ema.profile import sigma_rel_to_gamma, walk_correlation
from trainables.ema.settings import NAMED
from trainables.errors import Damaged, UserError
from trainables.files.storage import storage_of

_NAME = "images-{images:012d}-sigma_rel-{sigma_rel}.safetensors"


@dataclass(frozen=True)
class Snapshot:
    """Which average a file holds."""

    images: int
    sigma_rel: float
    rms: float  # root mean square of its values
    lag: float  # root mean square of its distance to the raw weights when it was stored; NaN if unknown
    file: FlatFile

    @property
    def size(self) -> int:
        return self.file.size

    @property
    def drift(self) -> float:
        """Mean squared movement of a weight per image, if the weights move as a Brownian path."""
        gamma = sigma_rel_to_gamma(self.sigma_rel)
        return self.lag**2 / float(walk_correlation(self.images, gamma, self.images, gamma))


def write_snapshot(
    folder: Path | str, images: int, sigma_rel: float, average: Sequence[Tensor], names: Sequence[str], raw: Sequence[Tensor] = (),
    dtype: str = "fp32",
) -> str:
    """Store one average atomically; an existing file of the same time and width is replaced.

    `raw` are the weights themselves: how far the average lags behind them tells the robust solver how much rounding matters.
    """
    layout = [{"name": n, "shape": list(p.shape)} for n, p in zip(names, average, strict=True)]
    zero = [torch.zeros((), device=p.device) for p in average]
    metadata = {"images": str(images), "sigma_rel": repr(sigma_rel), "rms": repr(_distance(average, zero)),
                "lag": repr(_distance(average, raw) if raw else math.nan), "layout": json.dumps(layout)}
    location = snapshot_name(folder, images, sigma_rel)
    write_flat(location, average, dtype, metadata)
    return location


def list_snapshots(folder: Path | str) -> list[Snapshot]:
    """All stored averages of a folder or URL in order of time and width; a damaged file is an error that names it."""
    found = []
    for location in storage_of(str(folder)).find(str(folder), "images-*.safetensors"):
        file = open_flat(location)
        try:
            known = file.metadata
            found.append(Snapshot(int(known["images"]), float(known["sigma_rel"]), float(known["rms"]), float(known["lag"]), file))
        except (KeyError, ValueError) as error:
            raise Damaged(f"{location}: this snapshot does not say which average it is ({error}); {WAY_OUT}") from None
    return sorted(found, key=lambda s: (s.images, s.sigma_rel))


def keep_snapshots(folder: Path | str, keep: Literal["all", "last", "none"]) -> list[str]:
    """Delete all averages but those that are to be kept; returns what was deleted."""
    if keep == "all":
        return []
    snapshots = list_snapshots(folder)
    last = max((s.images for s in snapshots), default=0)
    stored = [*((s.images, s.file.location) for s in snapshots), *stored_classical(folder)]
    gone = [location for images, location in stored if keep == "none" or images != last]
    for location in gone:
        storage_of(location).delete(location)
    return gone


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


def _split(flat: Tensor, parameters: Iterable[Tensor]) -> Iterator[Tensor]:
    start = 0
    for parameter in parameters:
        stop = start + math.prod(parameter.shape)
        yield flat[start:stop].view(parameter.shape)
        start = stop


def snapshot_name(folder: Path | str, images: int, sigma_rel: float) -> str:
    """Path or URL of an average."""
    return f"{str(folder).rstrip('/')}/{_NAME.format(images=images, sigma_rel=f'{sigma_rel:{NAMED}}')}"


def _distance(average: Sequence[Tensor], raw: Sequence[Tensor]) -> float:
    squares = sum(float((a.detach() - r.detach()).double().square().sum()) for a, r in zip(average, raw, strict=True))
    return math.sqrt(squares / sum(a.numel() for a in average))
