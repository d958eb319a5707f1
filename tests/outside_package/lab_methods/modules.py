"""Torch modules, imported with the first network alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Convolutions(nn.Module):
    """Told the noise level and the label at the first layer."""

    def __init__(self, outer: int, inner: int, classes: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Conv2d(outer, inner, 3, padding=1), nn.Conv2d(inner, outer, 3, padding=1)
        self.level = nn.Linear(1, inner)
        self.label = nn.Linear(classes, inner, bias=False) if classes else None

    def forward(self, z: Tensor, c_noise: Tensor, labels: Tensor | None = None, augment: Tensor | None = None) -> Tensor:
        told = self.level(c_noise[:, None])
        if self.label is not None and labels is not None:
            told = told + self.label(labels)
        return self.leave(torch.nn.functional.silu(self.enter(z) + told[:, :, None, None]))
