"""Adam (Kingma & Ba 2015), EDM2's optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from trainables.optimisers.moments import Moments
from trainables.optimisers.optimiser import trained_parameters

if TYPE_CHECKING:
    import torch
    from torch import nn


class Adam(Moments):
    """Adam (Kingma & Ba 2015); the defaults are EDM2's."""

    kind: Literal["adam"] = "adam"

    def build(self, modules: Sequence[nn.Module]) -> torch.optim.Optimizer:
        import torch

        return torch.optim.Adam(trained_parameters(modules), **self._arguments, fused=True)
