"""Which parameters weight decay is for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainables.optimisers.optimiser import trained_parameters

if TYPE_CHECKING:
    from torch import nn


def decay_groups(modules: Sequence[nn.Module], weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups of torch.optim: weight matrices and kernels decay; gains, biases and the maps of norms (one number per channel) do
    not, nor do weights of forced norm (EDM2), whose length is the same again before the next step whatever decay takes from it.
    """
    from trainables.networks.modules.magnitude import MPConv

    forced = {id(m.weight) for module in modules for m in module.modules() if isinstance(m, MPConv) and m.norm == "forced"}
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for parameter in trained_parameters(modules):
        (decayed if weight_decay and parameter.ndim > 1 and id(parameter) not in forced else kept).append(parameter)
    groups = ({"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]
