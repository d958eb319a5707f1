"""What an optimiser is: settings that build one of torch.optim, with its learning rate."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from trainables.method import Method
from trainables.optimisers.learning_rate import LearningRate

if TYPE_CHECKING:
    import torch
    from torch import nn


class Optimiser(Method, LearningRate, abc.ABC):
    """Its own fields mean the same for every kind: they stay where a study searches `optimiser.kind`."""

    clip_norm: float = Field(0.0, ge=0, description="gradients are scaled down to this norm of all of them together; 0 is never")

    @abc.abstractmethod
    def build(self, modules: Sequence[nn.Module]) -> torch.optim.Optimizer:
        """An optimiser of the modules' trained parameters, at rate `lr`."""

    @property
    def decays_weights(self) -> bool:
        """Whether weights shrink at each step beside what the gradient does."""
        return getattr(self, "weight_decay", 0.0) > 0


def trained_parameters(modules: Sequence[nn.Module]) -> list[nn.Parameter]:
    """In the modules' order, without those that no gradient reaches."""
    return [p for module in modules for p in module.parameters() if p.requires_grad]
