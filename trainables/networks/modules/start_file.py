"""The weights that a run begins from, in its folder: an average of another run's, and which of its units are kept, with a checksum."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from torch import Tensor

from trainables.errors import ConfigError, Damaged
from trainables.files import atomic
from trainables.files.cache import array_hash
from trainables.files.storage import local_copy
from trainables.start import Start


class StartWeights(NamedTuple):
    """Parameters and buffers of the other run's whole denoiser by name; indices of the units that are kept by name, none is all."""

    state: dict[str, Tensor]
    kept: dict[str, Tensor]


def start_path(folder: Path) -> Path:
    return folder / "start.safetensors"


def kept_hash(kept: Mapping[str, Tensor]) -> str | None:
    """What `Start.kept` says of these indices [kept units] by name; None where there are none."""
    return _hash(kept) if kept else None


def write_start(folder: Path, start: Start, state: Mapping[str, Tensor], kept: Mapping[str, Tensor] = {}) -> None:
    """Put a denoiser's state, and the units that its pruned copy keeps, into the folder of the run that begins from it, atomically."""
    from safetensors.torch import save_file

    named = {f"state/{name}": tensor for name, tensor in state.items()} | {f"kept/{name}": tensor for name, tensor in kept.items()}
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}
    metadata = {"start": start.model_dump_json(), "sha256": _hash(whole)}
    atomic.write_with(start_path(folder), lambda temporary: save_file(whole, temporary, metadata))


def read_start(folder: Path, start: Start) -> StartWeights:
    """ConfigError where there is no such file or that of another start, Damaged where it cannot be read."""
    path = start_path(folder)
    if not path.exists():
        raise ConfigError(
            f"start: the weights that this run begins from are not in its folder ({path}); recipes of whole step-adaptive trainings "
            "(experts: ...) make and find them by themselves"
        )
    way_out = "delete it and run the whole training again; it is made anew from the run that it comes from"
    try:
        with local_copy(path) as copy, safe_open(copy, framework="pt") as file:
            metadata = file.metadata() or {}
            named = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata["sha256"] != _hash(named):
            raise ValueError("its content does not match its checksum")
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise Damaged(f"{path}: cannot be read ({error}); {way_out}") from None
    kept = _under("kept/", named)
    if Start.model_validate_json(metadata["start"]) != start or kept_hash(kept) != start.kept:
        raise ConfigError(f"{path}: holds the weights of another start than the recipe's; {way_out}")
    return StartWeights(_under("state/", named), kept)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _hash(tensors: Mapping[str, Tensor]) -> str:
    return array_hash({name: tensor.cpu().numpy() for name, tensor in tensors.items()})
