"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from trainables.method import searchable
from trainables.optimisers.optimiser import Optimiser

if TYPE_CHECKING:
    import torch
    from torch import nn


class Sgd(Optimiser):
    """Stochastic gradient descent with momentum (Sutskever et al. 2013); steps scale with the loss, which is a sum over pixels."""

    kind: Literal["sgd"] = "sgd"
    lr: float = searchable(1e-3, low=1e-5, high=0.1, log=True, gt=0, description="reference learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="decay of the sum of gradients along which each step goes")
    nesterov: bool = Field(False, description="look ahead along the momentum (Nesterov)")
    weight_decay: float = searchable(
        0.0, low=1e-5, high=1e-2, log=True, ge=0, description="added to the gradient times the weights; not for gains, biases and norms"
    )

    def build(self, modules: Sequence[nn.Module]) -> torch.optim.Optimizer:
        import torch

        from trainables.optimisers.weight_decay import decay_groups

        groups = decay_groups(modules, self.weight_decay)
        optimiser = torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, fused=True)
        if self.momentum:  # from zero: the first step may be skipped on the device, and would leave memory that was never written
            for parameter in (p for group in groups for p in group["params"]):
                optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return optimiser

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Sgd:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov has no effect without momentum: set momentum above 0, or nesterov: false")
        return self
