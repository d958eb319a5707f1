"""Averages of any width and time from the stored ones, in one pass over the files.

All targets are one matrix product, coefficients [K, S] times stored averages [S, P], computed tile by tile of parameters:
every stored byte is read once whatever K is, and memory depends on neither the model nor K (where the result goes to files).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import xxhash
from torch import Tensor

from trainables.ema.flat_file import BLOCK, WAY_OUT, FlatWriter, bytes_of
from trainables.ema.reliability import Reliability, reliability
from trainables.ema.snapshots import Snapshot, snapshot_name
from trainables.ema.solve import Solver, solve_posthoc_coefficients
from trainables.errors import ConfigError, Damaged

log = logging.getLogger(__name__)

# The drift that the lag shows is that of long times, and over short times weights move more: measured on real runs, this share of the
# ridge that it gives is the best, and anything between a third and ten times less is nearly as good.
_CAUTION = 0.1
# Relative root mean square error of one stored value; that of fp16 was measured on weights of EDM2 networks.
ROUNDING = {torch.float32: 2.6e-8, torch.float16: 2.1e-4}
_BUFFER = 48 << 20  # bytes of stored values held at once
_TILE = 4096  # parameters per product: a converted tile of 128 stored averages stays in a 2 MiB cache


@dataclass(frozen=True)
class Target:
    """A wanted average: its width, and the time at which it ends."""

    sigma_rel: float
    images: int


@dataclass(frozen=True)
class Plan:
    """How K targets follow from S stored averages; made without reading any weight, and small enough to be sent anywhere."""

    targets: tuple[Target, ...]
    snapshots: tuple[Snapshot, ...]  # those that are needed
    coefficients: np.ndarray  # [S, K] float64
    solver: Solver
    reliability: tuple[Reliability, ...]  # of each target

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.snapshots[0].size

    @property
    def stored_bytes(self) -> int:
        return sum(s.file.stored_bytes for s in self.snapshots)

    def ranges(self, parts: int) -> list[tuple[int, int]]:
        """The parameters split into at most `parts` ranges of whole checksum blocks, for as many tasks."""
        blocks = -(-self.size // BLOCK)
        edges = [min(round(i * blocks / parts) * BLOCK, self.size) for i in range(parts + 1)]
        return [(a, b) for a, b in pairwise(edges) if a < b]

    def stream(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Tensor]]:
        """(first parameter, float32 [K, n]) piece by piece; a piece is overwritten by the next. Damaged files are an error.

        `start` is the beginning of a checksum block, as those of `ranges`.  Products always have one shape, on tiles at multiples of
        their length: on one kind of CPU, with one number of threads, the same bits come out whatever the range.
        """
        stop = self.size if stop is None else stop
        if start == stop:
            return
        files = [s.file for s in self.snapshots]
        weights = torch.from_numpy(np.ascontiguousarray(self.coefficients.T)).float()
        width = files[0].dtype.itemsize
        chunk = min(max(_TILE, 1 << (_BUFFER // (len(files) * width)).bit_length() - 1), BLOCK, -(-self.size // _TILE) * _TILE)
        stored = torch.empty(len(files), chunk, dtype=files[0].dtype)
        rows = [bytes_of(row) for row in stored]
        tile, made = torch.zeros(len(files), _TILE), torch.empty(len(self.targets), chunk)
        hashes = [xxhash.xxh3_64() for _ in files]
        for first in range(start, stop, chunk):
            count = min(chunk, stop - first)
            for file, row, running in zip(files, rows, hashes, strict=True):
                part = row[: count * width]
                file.read_into(part, first)
                running.update(part)
                if first + count < stop:
                    file.prefetch(first + count, min(first + count + chunk, stop))
            if (first + count) % BLOCK == 0 or first + count == self.size:
                self._check(hashes, (first + count - 1) // BLOCK)
                hashes = [xxhash.xxh3_64() for _ in files]
            for a in range(0, count, _TILE):
                b = min(a + _TILE, count)
                tile[:, : b - a] = stored[:, a:b]
                torch.mm(weights, tile, out=made[:, a : a + _TILE])
            yield first, made[:, :count]

    def _check(self, hashes: Sequence[xxhash.xxh3_64], block: int) -> None:
        for snapshot, running in zip(self.snapshots, hashes, strict=True):
            if running.hexdigest() != snapshot.file.checksums[block]:
                raise Damaged(f"{snapshot.file.location}: is damaged (checksum of block {block}); {WAY_OUT}")

    def vectors(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """The averages themselves, float32 [K, stop - start], in memory."""
        stop = self.size if stop is None else stop
        out = torch.empty(len(self.targets), stop - start)
        for first, piece in self.stream(start, stop):
            out[:, first - start : first - start + piece.shape[1]] = piece
        return out.numpy()

    def save(self, folder: Path | str, dtype: str = "fp32") -> list[str]:
        """The averages as files that `list_snapshots` reads, [K] locations; memory does not depend on K or the model.

        ConfigError where two of them would have the same name.
        """
        locations = [snapshot_name(folder, target.images, target.sigma_rel) for target in self.targets]
        for target, location in zip(self.targets, locations, strict=True):
            if locations.count(location) > 1:
                raise ConfigError(f"sigma_rel {target.sigma_rel}: {location} names four decimals: use widths that differ in these")
        layout = self.snapshots[0].file.metadata["layout"]
        writers = []
        for target, trust, location in zip(self.targets, self.reliability, locations, strict=True):
            metadata = {
                "images": str(target.images), "sigma_rel": repr(target.sigma_rel), "rms": "nan", "lag": "nan", "layout": layout,
                "solver": self.solver,
                "profile_error": repr(trust.profile_error), "storage_error": repr(trust.storage_error),
            }
            writers.append(FlatWriter(location, self.size, dtype, metadata))
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(writer) for writer in writers]
            for _, piece in self.stream():
                for writer, row in zip(opened, piece, strict=True):
                    writer.append(row)
        return [writer.location for writer in writers]


def plan(snapshots: Sequence[Snapshot], targets: Sequence[Target], solver: Solver = "robust") -> Plan:
    """Solve for the coefficients; logs a warning with advice for each target that is not to be trusted."""
    if not snapshots:
        raise ConfigError("there are no stored averages to reconstruct from")
    if len({s.size for s in snapshots}) > 1:
        raise ConfigError("the stored averages are of networks of different sizes: they belong to different recipes")
    if len({s.file.dtype for s in snapshots}) > 1:
        raise ConfigError("some of the stored averages are fp16 and some fp32: they belong to different recipes")
    times, widths = [s.images for s in snapshots], [s.sigma_rel for s in snapshots]
    rounding = ROUNDING[snapshots[0].file.dtype]
    columns, trust = np.zeros((len(snapshots), len(targets))), []
    for k, target in enumerate(targets):
        ridge = _ridge(snapshots, rounding, target.images) if solver == "robust" else 0.0
        columns[:, k] = solve_posthoc_coefficients(times, widths, target.images, target.sigma_rel, solver, ridge)[:, 0]
        trust.append(reliability(times, widths, target.images, target.sigma_rel, columns[:, k], rounding))
        if trust[-1].advice:
            log.warning("sigma_rel %g at %d images: %s", target.sigma_rel, target.images, trust[-1].advice)
    used = np.flatnonzero(np.any(columns != 0, axis=1)).tolist()
    return Plan(tuple(targets), tuple(snapshots[i] for i in used), columns[used], solver, tuple(trust))


def _ridge(snapshots: Sequence[Snapshot], rounding: float, images: int) -> float:
    """Variance of the storage rounding over that of the weights' drift in the target's time; 0 where the drift is not known."""
    moved = [s for s in snapshots if s.lag > 0]
    if not moved:
        return 0.0
    return _CAUTION * float(np.median([(rounding * s.rms) ** 2 / (s.drift * images) for s in moved]))
