"""The state of a training run in one safetensors file, enough to go on bit for bit; torch is loaded with the first tensor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from trainables.errors import UserError
from trainables.files import atomic
from trainables.files.storage import local_copy, read_header

if TYPE_CHECKING:
    from torch import Tensor

_NAME = "checkpoint.safetensors"


@dataclass
class Counters:
    """What a run has done so far."""

    images: int = 0
    nonfinite_steps: int = 0
    train_seconds: float = 0.0


def path(folder: Path) -> Path:
    return folder / _NAME


def exists(folder: Path) -> bool:
    return path(folder).exists()


def images(folder: Path) -> int:
    """Images trained up to the checkpoint; 0 without a whole one."""
    try:
        return int(json.loads(read_header(str(path(folder)))[0]["__metadata__"]["counters"])["images"])
    except (OSError, KeyError, ValueError):
        return 0


def save(folder: Path, key: str, counters: Counters, tensors: Mapping[str, Tensor]) -> None:
    """Write the state atomically; the earlier checkpoint stays until the new one is whole."""
    from safetensors.torch import save_file

    metadata = {"stage_key": key, "counters": json.dumps(asdict(counters))}
    whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    atomic.write_with(path(folder), lambda temporary: save_file(whole, temporary, metadata))


def load(folder: Path, key: str) -> tuple[Counters, dict[str, Tensor]] | None:
    """The state if there is one; an error names a file that is damaged or of another recipe."""
    if not exists(folder):
        return None
    try:
        with local_copy(path(folder)) as copy, safe_open(copy, framework="pt") as file:
            metadata = file.metadata()
            if metadata.get("stage_key") != key:
                raise UserError(f"{path(folder)}: belongs to another recipe; use another folder or delete it")
            return Counters(**json.loads(metadata["counters"])), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"{path(folder)}: cannot be read ({error}); delete it to train from the start") from None
