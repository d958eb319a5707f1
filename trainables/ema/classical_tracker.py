"""Classical averages of the weights, followed during training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from trainables.ema.classical_average import ClassicalAverage
from trainables.ema.tracked import Tracked


class ClassicalEmas(Tracked[str]):
    """One average per baseline; call `update` after each optimiser step."""

    def __init__(self, module: nn.Module, settings: Sequence[ClassicalAverage]) -> None:
        super().__init__(module, [average.name for average in settings])
        self._settings = settings

    @torch.no_grad()
    def update(self, images: int, step: int) -> None:
        """Take in the weights after a step of `step` images that ends at `images` seen."""
        for average in self._settings:
            beta = float(average.beta(float(images - step), step))
            torch._foreach_lerp_(self.averages[average.name], self._parameters, 1.0 - beta)
