"""My network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainables.networks.network import Network

if TYPE_CHECKING:
    from torch import nn


class MyMethod(Network):
    """Three convolutions that are told the noise level and the label."""

    kind: Literal["my_method"] = "my_method"
    channels: int = Field(16, ge=1, le=1024, description="channels inside")

    def build(self, channels: int, resolution: int, classes: int, augment_labels: int = 0) -> nn.Module:
        """A freshly initialised module; random numbers come from torch's global generator, which the caller seeds."""
        return _module(channels, self.channels, classes, augment_labels)


def _module(outer: int, inner: int, classes: int, augment_labels: int) -> nn.Module:
    import torch  # with the first network, so that reading a study loads no torch
    from torch import Tensor, nn

    class Convolutions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.inside, self.leave = (
                nn.Conv2d(a, b, 3, padding=1) for a, b in ((outer, inner), (inner, inner), (inner, outer)))
            self.level = nn.Linear(2, inner)
            self.label = nn.Linear(classes, inner, bias=False) if classes else None
            self.augment = nn.Linear(augment_labels, inner, bias=False) if augment_labels else None

        def forward(self, z: Tensor, c_noise: Tensor, labels: Tensor | None = None, augment: Tensor | None = None) -> Tensor:
            """F [N,C,H,W] for noisy images z [N,C,H,W], c_noise [N], labels [N, classes] and augment labels."""
            told = self.level(torch.stack([c_noise, c_noise.square()], dim=1))
            if self.label is not None and labels is not None:
                told = told + self.label(labels)
            if self.augment is not None and augment is not None:
                told = told + self.augment(augment)
            x = torch.nn.functional.silu(self.enter(z) + told[:, :, None, None])
            return self.leave(torch.nn.functional.silu(x + self.inside(x)))

    return Convolutions()
