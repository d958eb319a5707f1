"""Classical averages of the weights, followed during training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from trainables.ema.classical_average import ClassicalAverage


class ClassicalEmas:
    """One average per baseline; call `update` after each optimiser step."""

    def __init__(self, module: nn.Module, settings: Sequence[ClassicalAverage]) -> None:
        self._parameters: list[Tensor] = list(module.parameters())
        self._settings = settings
        self.averages: dict[str, list[Tensor]] = {s.name: [p.detach().clone() for p in self._parameters] for s in settings}

    def share_out(self, parameters: list[Tensor], part: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Go on with a part of each parameter, and the same part of its averages."""
        self.averages = {
            name: [part(tensor, p) for tensor, p in zip(tensors, self._parameters, strict=True)] for name, tensors in self.averages.items()
        }
        self._parameters = parameters

    @torch.no_grad()
    def update(self, images: int, step: int) -> None:
        """Take in the weights after a step of `step` images that ends at `images` seen."""
        for average in self._settings:
            beta = float(average.beta(float(images - step), step))
            torch._foreach_lerp_(self.averages[average.name], self._parameters, 1.0 - beta)
