"""Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from trainables.method import searchable
from trainables.optimisers.moments import Moments

if TYPE_CHECKING:
    import torch
    from torch import nn


class AdamW(Moments):
    """Adam whose weights shrink by lr x weight_decay at each step (Loshchilov & Hutter 2019); gains, biases and norms do not."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: float = searchable(0.01, low=1e-3, high=0.3, log=True, ge=0, description="decoupled weight decay")

    def build(self, modules: Sequence[nn.Module]) -> torch.optim.Optimizer:
        import torch

        from trainables.optimisers.weight_decay import decay_groups

        return torch.optim.AdamW(decay_groups(modules, self.weight_decay), **self._arguments, fused=True)
