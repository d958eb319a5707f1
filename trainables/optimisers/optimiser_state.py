"""What an optimiser remembers of a run, as tensors with names."""

from __future__ import annotations

import torch
from torch import Tensor


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
