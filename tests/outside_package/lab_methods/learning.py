"""A network and an optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from trainables.method import searchable
from trainables.networks.network import Network
from trainables.optimisers.optimiser import Optimiser, trained_parameters

if TYPE_CHECKING:
    import torch
    from torch import nn


class LabNetwork(Network):
    """Two convolutions."""

    kind: Literal["lab_network"] = "lab_network"
    channels: int = Field(8, ge=1, description="channels inside")

    def build(self, channels: int, resolution: int, classes: int, augment_labels: int = 0) -> nn.Module:
        from lab_methods.modules import Convolutions

        return Convolutions(channels, self.channels, classes)


class LabSign(Optimiser):
    """Steps of one size along the sign of the mean gradient (Bernstein et al. 2018)."""

    kind: Literal["lab_sign"] = "lab_sign"
    lr: float = searchable(1e-3, low=1e-4, high=1e-2, log=True, gt=0, description="size of the steps")
    momentum: float = Field(0.9, ge=0, lt=1, description="decay of the mean gradient")

    def build(self, modules: Sequence[nn.Module]) -> torch.optim.Optimizer:
        import torch

        class Sign(torch.optim.Optimizer):
            @torch.no_grad()
            def step(self, closure: Any = None) -> None:
                for group in self.param_groups:
                    for parameter in (p for p in group["params"] if p.grad is not None):
                        mean = self.state[parameter].setdefault("mean", torch.zeros_like(parameter))
                        mean.lerp_(parameter.grad, 1 - group["momentum"])
                        parameter.sub_(mean.sign(), alpha=group["lr"])

        return Sign(trained_parameters(modules), {"lr": self.lr, "momentum": self.momentum})
