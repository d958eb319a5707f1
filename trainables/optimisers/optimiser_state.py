"""What an optimiser remembers of a run, as tensors with names; torch is loaded with the first optimiser."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_FIRST = {"mu_product": 1.0}  # before the first step; all other tensors are zero


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state by name, over the parameters of all groups; made first, as it is before any step, where no step has made it yet."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    if not all(optimiser.state[p] for p in parameters):
        _make_state(optimiser, parameters)
    named = {f"{i}/{slot}": value for i, p in enumerate(parameters) for slot, value in optimiser.state[p].items()}
    return {name: value for name, value in named.items() if value is not None}


def _make_state(optimiser: torch.optim.Optimizer, parameters: list[Tensor]) -> None:
    """By a step of size zero on zero gradients of the parameters that have none, which is then forgotten."""
    import torch

    rates, gradients = [group["lr"] for group in optimiser.param_groups], [p.grad for p in parameters]
    missing = [p for p in parameters if not optimiser.state[p]]
    for group in optimiser.param_groups:
        group["lr"] = 0.0
    optimiser.zero_grad(set_to_none=True)
    for parameter in missing:
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    for group, rate in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = rate
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    for parameter in missing:
        for slot, value in optimiser.state[parameter].items():
            if isinstance(value, torch.Tensor):
                value.fill_(_FIRST.get(slot, 0.0))
