"""Settings of the EDM2 U-Net (config G of Karras et al. 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainables.method import searchable
from trainables.networks.network import Network

if TYPE_CHECKING:
    from torch import nn


class Edm2(Network):
    """Magnitude-preserving U-Net; the defaults are the shape of EDM2-S with a number of channels for small images."""

    kind: Literal["edm2"] = "edm2"
    channels: int = Field(32, ge=4, le=1024, description="channels at full resolution")
    mult: tuple[int, ...] = Field((1, 2, 3, 4), min_length=1, description="channel multiplier of each level")
    blocks: int = Field(3, ge=1, le=8, description="blocks per level in the encoder (one more in the decoder)")
    attention: tuple[int, ...] = Field((16, 8), description="resolutions with self-attention")
    channels_per_head: int = Field(64, ge=4, description="channels per attention head")
    label_balance: float = Field(0.5, ge=0, le=1, description="share of the label in the embedding")
    concat_balance: float = Field(0.5, ge=0, le=1, description="share of the skip connection")
    res_balance: float = Field(0.3, ge=0, le=1, description="share of the residual branch")
    attn_balance: float = Field(0.3, ge=0, le=1, description="share of the attention branch")
    dropout: float = searchable(0.0, low=0.0, high=0.2, ge=0, lt=1, description="dropout in the residual branch")

    def check(self, resolution: int) -> None:
        divisor = 2 ** (len(self.mult) - 1)
        if resolution % divisor:
            raise ValueError(
                f"{len(self.mult)} levels halve the images {len(self.mult) - 1} times, but their resolution is {resolution}; "
                f"use at most {_levels_for(resolution)} entries in mult"
            )

    def build(self, channels: int, resolution: int, classes: int) -> nn.Module:
        from trainables.networks.edm2_unet import Edm2UNet

        self.check(resolution)
        return Edm2UNet(self, channels, resolution, classes)


def _levels_for(resolution: int) -> int:
    levels = 1
    while resolution % 2 == 0:
        resolution, levels = resolution // 2, levels + 1
    return levels
