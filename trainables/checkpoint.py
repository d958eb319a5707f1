"""The state of a training run in one safetensors file, enough to go on bit for bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from trainables import atomic
from trainables.errors import UserError

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
        with safe_open(path(folder), framework="pt") as file:
            return int(json.loads(file.metadata()["counters"])["images"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return 0


def save(folder: Path, key: str, counters: Counters, tensors: Mapping[str, Tensor]) -> None:
    """Write the state atomically; the earlier checkpoint stays until the new one is whole."""
    metadata = {"stage_key": key, "counters": json.dumps(asdict(counters))}
    whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    atomic.write_with(path(folder), lambda temporary: save_file(whole, temporary, metadata))


def load(folder: Path, key: str) -> tuple[Counters, dict[str, Tensor]] | None:
    """The state if there is one; an error names a file that is damaged or of another recipe."""
    if not exists(folder):
        return None
    try:
        with safe_open(path(folder), framework="pt") as file:
            metadata = file.metadata()
            if metadata.get("stage_key") != key:
                raise UserError(f"{path(folder)}: belongs to another recipe; use another folder or delete it")
            return Counters(**json.loads(metadata["counters"])), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"{path(folder)}: cannot be read ({error}); delete it to train from the start") from None


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's state by name, made first where no step has made it yet."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    if not optimiser.state:
        _make_state(optimiser, parameters)
    return {f"{i}/{slot}": value for i, p in enumerate(parameters) for slot, value in optimiser.state[p].items()}


def _make_state(optimiser: torch.optim.Optimizer, parameters: list[Tensor]) -> None:
    """A step of size zero on zero gradients."""
    rates = [group["lr"] for group in optimiser.param_groups]
    for group in optimiser.param_groups:
        group["lr"] = 0.0
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    for group, rate in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = rate
