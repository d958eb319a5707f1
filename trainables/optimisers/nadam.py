"""Adam with Nesterov's momentum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from trainables.optimisers.moments import Moments
from trainables.optimisers.optimiser import trained_parameters

if TYPE_CHECKING:
    import torch
    from torch import nn


class NAdam(Moments):
    """Adam with Nesterov's momentum (Dozat 2016)."""

    kind: Literal["nadam"] = "nadam"

    def build(self, modules: Sequence[nn.Module]) -> torch.optim.Optimizer:
        import torch

        return torch.optim.NAdam(trained_parameters(modules), **self._arguments)
