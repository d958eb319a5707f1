"""What an optimiser remembers of a run, as tensors with names; torch is loaded with the first optimiser."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_FIRST = {"mu_product": 1.0}  # before the first step; all other tensors are zero


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state by name, over the parameters of all groups; made first, as it is before any step, where no step has made it yet.

    Between steps: no parameter has a gradient.
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    _make_state(optimiser, [p for p in parameters if not optimiser.state[p]])
    named = {f"{i}/{slot}": value for i, p in enumerate(parameters) for slot, value in optimiser.state[p].items()}
    return {name: value for name, value in named.items() if value is not None}


def _make_state(optimiser: torch.optim.Optimizer, parameters: list[Tensor]) -> None:
    """By a step of size zero on zero gradients, which is then forgotten."""
    import torch

    rates = [group["lr"] for group in optimiser.param_groups]
    for group in optimiser.param_groups:
        group["lr"] = 0.0
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    for group, rate in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = rate
    for parameter in parameters:
        for slot, value in optimiser.state[parameter].items():
            if isinstance(value, torch.Tensor):
                value.fill_(_FIRST.get(slot, 0.0))
