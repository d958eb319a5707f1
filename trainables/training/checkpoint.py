"""The state of a training run in one safetensors file with a checksum, enough to go on bit for bit; torch is loaded with the first
tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash
from safetensors import SafetensorError, safe_open

from trainables.errors import Damaged, UserError
from trainables.files import atomic
from trainables.files.checksum import checked, with_checksum
from trainables.files.storage import local_copy, read_header

if TYPE_CHECKING:
    from torch import Tensor

_NAME = "checkpoint.safetensors"


@dataclass
class Counters:
    """What a run has done so far."""

    images: int = 0
    train_seconds: float = 0.0


def path(folder: Path) -> Path:
    return folder / _NAME


def exists(folder: Path) -> bool:
    return path(folder).exists()


def images(folder: Path) -> int:
    """Images trained up to the checkpoint; 0 without a whole one."""
    try:
        return int(checked(read_header(str(path(folder)))[0]["__metadata__"]["counters"])["images"])
    except (OSError, KeyError, ValueError):
        return 0


def stage(folder: Path) -> str:
    """The stage key of the checkpoint; empty without a whole one."""
    try:
        return str(read_header(str(path(folder)))[0]["__metadata__"]["stage_key"])
    except (OSError, KeyError, ValueError):
        return ""


def save(folder: Path, key: str, counters: Counters, tensors: Mapping[str, Tensor]) -> None:
    """Write the state atomically; the earlier checkpoint stays until the new one is whole."""
    from safetensors.torch import save_file

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"stage_key": key, "counters": with_checksum(asdict(counters))}
    metadata["checksum"] = _checksum(metadata, whole)
    atomic.write_with(path(folder), lambda temporary: save_file(whole, temporary, metadata))


def load(folder: Path, key: str) -> tuple[Counters, dict[str, Tensor]] | None:
    """The state if there is one; Damaged where it cannot be read, UserError where it is of another recipe."""
    if not exists(folder):
        return None
    try:
        metadata, tensors = _read(folder)
    except (OSError, SafetensorError, ValueError) as error:
        raise Damaged(f"{path(folder)}: cannot be read ({error}); delete it to train from the start") from None
    if metadata.get("stage_key") != key:
        raise UserError(
            f"{path(folder)}: belongs to another recipe, to data or code that have changed since, or to another number of workers; "
            "use another folder, or delete it to train from the start"
        )
    return Counters(**checked(metadata["counters"])), tensors


def verify(folder: Path) -> bool:
    """Whether there is a checkpoint, and all of it has its checksum."""
    try:
        _read(folder)
    except (OSError, SafetensorError, ValueError):
        return False
    return True


def _read(folder: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    with local_copy(path(folder)) as copy, safe_open(copy, framework="pt") as file:
        metadata: dict[str, str] = dict(file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    given = metadata.pop("checksum", None)  # there was none in earlier versions
    if metadata.keys() != {"stage_key", "counters"} or given not in (None, _checksum(metadata, tensors)):
        raise ValueError("its content does not match its checksum")
    return metadata, tensors


def _checksum(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """XXH3-64 of everything in the file, hexadecimal."""
    import torch

    digest = xxhash.xxh3_64()
    for name in sorted(metadata):
        digest.update(f"{name}={metadata[name]}\n".encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}: {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
