"""One long vector per file, as safetensors, so that any range of it can be read alone; on a disk or any fsspec storage.

The vector's bytes are hashed in blocks of BLOCK values (XXH3-64, kept in the header), so that whoever reads whole blocks in order
can check them on the way.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import xxhash
from torch import Tensor

from trainables.errors import ConfigError, Damaged, UserError
from trainables.files.storage import read_header, storage_of

BLOCK = 1 << 20  # values per checksum
WAY_OUT = "restore it, or delete the run's folder to train again, with the same numbers"
DTYPES = {"fp32": ("F32", torch.float32), "fp16": ("F16", torch.float16)}
_BY_CODE = dict(DTYPES.values())


@dataclass(frozen=True)
class FlatFile:
    """Where a stored vector lies and what its header says."""

    location: str  # a path, or a URL that fsspec knows
    size: int  # number of values
    dtype: torch.dtype
    first_byte: int  # where the vector begins in the file
    checksums: tuple[str, ...]  # one per block, hexadecimal
    metadata: dict[str, str]

    @property
    def stored_bytes(self) -> int:
        return self.size * self.dtype.itemsize

    def read_into(self, buffer: memoryview, start: int) -> None:
        """Fill a buffer of bytes with the values from `start` on."""
        if storage_of(self.location).read_into(self.location, buffer, self._offset(start)) < len(buffer):
            raise Damaged(f"{self.location}: this snapshot ends too early; {WAY_OUT}")

    def read(self, start: int = 0, stop: int | None = None) -> Tensor:
        """The values [start, stop) as stored."""
        out = torch.empty((self.size if stop is None else stop) - start, dtype=self.dtype)
        self.read_into(bytes_of(out), start)
        return out

    def prefetch(self, start: int, stop: int) -> None:
        """Ask the storage to have these values ready soon, where it can."""
        storage_of(self.location).prefetch(self.location, self._offset(start), (stop - start) * self.dtype.itemsize)

    def verify(self) -> bool:
        """Whether every block still has its checksum."""
        blocks = range(0, self.size, BLOCK)
        return all(
            checksum(self.read(start, min(start + BLOCK, self.size))) == wanted
            for start, wanted in zip(blocks, self.checksums, strict=True)
        )

    def _offset(self, value: int) -> int:
        return self.first_byte + value * self.dtype.itemsize


def checksum(values: Tensor) -> str:
    return str(xxhash.xxh3_64_hexdigest(bytes_of(values)))


def _header_checksum(metadata: dict[str, str]) -> str:
    return str(xxhash.xxh3_64_hexdigest(json.dumps(metadata, sort_keys=True).encode()))


def bytes_of(values: Tensor) -> memoryview:
    """The memory of a contiguous tensor."""
    return values.view(torch.uint8).numpy().data.cast("B")


def open_flat(location: str) -> FlatFile:
    """Read a file's header; a damaged or foreign file is an error that names it."""
    try:
        header, first_byte, total = read_header(location)
        entry, metadata = header["vector"], dict(header["__metadata__"])
        if metadata.pop("header_checksum", None) not in (None, _header_checksum(metadata)):  # there was none in earlier versions
            raise ValueError("its header does not match its checksum")
        sums = tuple(metadata.pop("checksums").split())
        flat = FlatFile(location, entry["shape"][0], _BY_CODE[entry["dtype"]], first_byte, sums, metadata)
        whole = flat.first_byte + flat.stored_bytes
        if total != whole or len(sums) != -(-flat.size // BLOCK):
            raise ValueError(f"it has {total} bytes, not {whole}")
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise Damaged(f"{location}: this snapshot cannot be read ({error}); {WAY_OUT}") from None
    return flat


def write_flat(location: str, parts: Sequence[Tensor], dtype: str, metadata: dict[str, str]) -> None:
    """Store the parts one after the other as one vector, atomically; an existing file is replaced."""
    size = sum(part.numel() for part in parts)
    with FlatWriter(location, size, dtype, metadata) as writer:
        for part in parts:
            writer.append(part)


class FlatWriter:
    """Writes a vector piece by piece; the file appears, whole, when the `with` block ends without an error."""

    def __init__(self, location: str, size: int, dtype: str, metadata: dict[str, str]) -> None:
        if dtype not in DTYPES:
            raise ConfigError(f"snapshot format '{dtype}' is not known. Allowed: {', '.join(DTYPES)}.")
        self.location, self._size, self._metadata = location, size, metadata
        self._code, self._dtype = DTYPES[dtype]
        self._sums: list[str] = []
        self._hash, self._in_block, self._written = xxhash.xxh3_64(), 0, 0
        self._header_length = len(self._header(["0" * 16] * -(-size // BLOCK)))

    def __enter__(self) -> FlatWriter:
        self._file = storage_of(self.location).create(self.location, self._header_length)
        return self

    def append(self, values: Tensor) -> None:
        """The next values of the vector."""
        flat = values.detach().reshape(-1).to("cpu", self._dtype).contiguous()
        if not math.isfinite(float(flat.sum(dtype=torch.float32))):  # a fifth of the time of looking at each value
            self._refuse(values)
        raw = bytes_of(flat)
        self._file.write(raw)
        self._written += flat.numel()
        block = BLOCK * self._dtype.itemsize
        while raw:
            head, raw = raw[: block - self._in_block], raw[block - self._in_block :]
            self._hash.update(head)
            self._in_block += len(head)
            if self._in_block == block:
                self._close_block()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if kind is None:
                if self._in_block:
                    self._close_block()
                if self._written != self._size:
                    raise ValueError(f"{self._written} of {self._size} values were written")
                self._file.commit(self._header(self._sums))
        finally:
            self._file.discard()

    def _close_block(self) -> None:
        self._sums.append(self._hash.hexdigest())
        self._hash, self._in_block = xxhash.xxh3_64(), 0

    def _refuse(self, values: Tensor) -> None:
        """Values whose sum is not finite: say why, if they cannot be stored."""
        if not torch.isfinite(values).all():
            raise UserError(f"{self.location}: the average holds NaN or infinity, and is not stored")
        largest = float(values.abs().max())
        if largest > torch.finfo(self._dtype).max:
            limit = "do not fit into fp16 (65504): use ema.snapshot_format: fp32"
            raise UserError(f"{self.location}: weights as large as {largest:.4g} {limit}")

    def _header(self, checksums: list[str]) -> bytes:
        entry = {"dtype": self._code, "shape": [self._size], "data_offsets": [0, self._size * self._dtype.itemsize]}
        metadata = {**self._metadata, "checksums": " ".join(checksums)}
        text = json.dumps({"__metadata__": {**metadata, "header_checksum": _header_checksum(metadata)}, "vector": entry}).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text
