"""Averages of any width from the stored ones, in one pass over the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from trainables.ema.snapshots import Snapshot
from trainables.ema.solve import Reliability, reliability, solve_posthoc_coefficients
from trainables.errors import ConfigError

_TILE = 1 << 18  # parameters per tile: 128 snapshots of it are 128 MiB in float32


@dataclass(frozen=True)
class Reconstruction:
    """K averages as one matrix, and how far each can be trusted."""

    sigma_rels: tuple[float, ...]
    images: int
    vectors: np.ndarray  # [K, parameters] float32
    reliability: tuple[Reliability, ...]


def reconstruct(snapshots: Sequence[Snapshot], sigma_rels: Sequence[float], images: int | None = None) -> Reconstruction:
    """Averages of the given widths at `images` (default: the last stored time).

    One matrix product per tile of parameters, so every stored byte is read once whatever the number of widths is.
    """
    if not snapshots:
        raise ConfigError("there are no stored averages to reconstruct from")
    last = max(s.images for s in snapshots) if images is None else images
    times, widths = [s.images for s in snapshots], [s.sigma_rel for s in snapshots]
    x = solve_posthoc_coefficients(times, widths, last, sigma_rels)
    trust = tuple(reliability(times, widths, last, s, x[:, k]) for k, s in enumerate(sigma_rels))

    used = np.flatnonzero(np.any(x != 0, axis=1)).tolist()
    weights = torch.from_numpy(np.ascontiguousarray(x[used].T)).float()
    size = snapshots[used[0]].size
    vectors = torch.empty(len(sigma_rels), size)
    for start in range(0, size, _TILE):
        stop = min(start + _TILE, size)
        tile = torch.stack([snapshots[i].read(start, stop).float() for i in used])
        vectors[:, start:stop] = weights @ tile
    return Reconstruction(tuple(float(s) for s in sigma_rels), last, vectors.numpy(), trust)
