"""The weights that a run begins from, in its folder: parameters and buffers by name, with a checksum and whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from trainables.errors import ConfigError, Damaged
from trainables.files import atomic
from trainables.files.cache import array_hash
from trainables.files.storage import local_copy
from trainables.start import Start


def start_path(folder: Path) -> Path:
    return folder / "start.safetensors"


def write_start(folder: Path, start: Start, state: Mapping[str, Tensor]) -> None:
    """Put a denoiser's state (parameters and buffers) into the folder of the run that begins from it, atomically."""
    from safetensors.torch import save_file

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    metadata = {"start": start.model_dump_json(), "sha256": _hash(whole)}
    atomic.write_with(start_path(folder), lambda temporary: save_file(whole, temporary, metadata))


def read_start(folder: Path, start: Start) -> dict[str, Tensor]:
    """The state by name; ConfigError where there is none or that of another start, Damaged where it cannot be read."""
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
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata["sha256"] != _hash(state):
            raise ValueError("its content does not match its checksum")
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise Damaged(f"{path}: cannot be read ({error}); {way_out}") from None
    if Start.model_validate_json(metadata["start"]) != start:
        raise ConfigError(f"{path}: holds the weights of another start than the recipe's; {way_out}")
    return state


def _hash(state: Mapping[str, Tensor]) -> str:
    return array_hash({name: tensor.numpy() for name, tensor in state.items()})
