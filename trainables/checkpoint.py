"""The state of a training run in one safetensors file, enough to go on bit for bit."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from trainables import atomic
from trainables.ema.tracker import PowerEma
from trainables.errors import UserError

_NAME = "checkpoint.safetensors"


@dataclass
class Counters:
    """What a run has done so far."""

    images: int = 0
    nonfinite_steps: int = 0
    train_seconds: float = 0.0


def save(folder: Path, key: str, counters: Counters, network: nn.Module, optimiser: torch.optim.Optimizer, ema: PowerEma) -> None:
    """Write the state atomically; the earlier checkpoint stays until the new one is whole."""
    tensors = {name: tensor.contiguous() for name, tensor in _tensors(network, optimiser, ema).items()}
    metadata = {"recipe_key": key, "counters": json.dumps(asdict(counters))}
    atomic.write_with(folder / _NAME, lambda temporary: save_file(tensors, temporary, metadata))


def restore(folder: Path, key: str, network: nn.Module, optimiser: torch.optim.Optimizer, ema: PowerEma) -> Counters | None:
    """Load the state if there is one and it belongs to this recipe; a damaged file is an error that names it."""
    path = folder / _NAME
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            if metadata["recipe_key"] != key:
                raise UserError(f"{path}: belongs to another recipe ({metadata['recipe_key'][:12]}); use another folder or delete it")
            counters = Counters(**json.loads(metadata["counters"]))
            _materialise_adam(optimiser)
            with torch.no_grad():
                for name, tensor in _tensors(network, optimiser, ema).items():
                    tensor.copy_(file.get_tensor(name))
    except SafetensorError as error:
        raise UserError(f"{path}: cannot be read ({error}); delete it to train from the start") from None
    return counters


def _tensors(network: nn.Module, optimiser: torch.optim.Optimizer, ema: PowerEma) -> dict[str, Tensor]:
    named = {f"network/{name}": tensor for name, tensor in network.state_dict().items()}
    for group in optimiser.param_groups:
        for i, parameter in enumerate(group["params"]):
            named |= {f"optimiser/{i}/{slot}": value for slot, value in optimiser.state[parameter].items()}
    for width, tensors in ema.averages.items():
        named |= {f"ema/{width}/{i}": tensor for i, tensor in enumerate(tensors)}
    return named


def _materialise_adam(optimiser: torch.optim.Optimizer) -> None:
    """Adam makes its state in the first step; a step of size zero on zero gradients makes it here."""
    rates = [group["lr"] for group in optimiser.param_groups]
    for group in optimiser.param_groups:
        group["lr"] = 0.0
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    for group, rate in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = rate
