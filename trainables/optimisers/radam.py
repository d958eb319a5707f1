"""Rectified Adam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from trainables.optimisers.moments import Moments
from trainables.optimisers.optimiser import trained_parameters

if TYPE_CHECKING:
    import torch
    from torch import nn


class RAdam(Moments):
    """Adam that trusts the second moment only once enough gradients were seen (Liu et al. 2020): a warm-up by itself."""

    kind: Literal["radam"] = "radam"

    def build(self, modules: Sequence[nn.Module]) -> torch.optim.Optimizer:
        import torch

        return torch.optim.RAdam(trained_parameters(modules), **self._arguments)
