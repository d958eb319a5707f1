"""My optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainables.method import searchable
from trainables.optimisers.optimiser import Optimiser, trained_parameters

if TYPE_CHECKING:
    import torch
    from torch import nn


class MyMethod(Optimiser):
    """RMSprop (Tieleman & Hinton 2012) by torch.optim."""

    kind: Literal["my_method"] = "my_method"
    lr: float = searchable(1e-3, low=1e-5, high=1e-2, log=True, gt=0, description="reference learning rate")
    smoothing: float = Field(0.99, ge=0, lt=1, description="decay of the gradient's second moment")

    def build(self, modules: Sequence[nn.Module]) -> torch.optim.Optimizer:
        """An optimiser of torch's kind; its state is tensors, and it takes `lr` from its groups at each step."""
        import torch

        return torch.optim.RMSprop(trained_parameters(modules), lr=self.lr, alpha=self.smoothing)
