"""Settings of the ADM U-Net (Dhariwal & Nichol 2021), EDM2's starting point (configs A and B)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from trainables.method import searchable
from trainables.networks.blocks import unet_blocks, unet_units
from trainables.networks.network import Multipliers, Network, Resolutions, check_attention, check_heads, check_levels

if TYPE_CHECKING:
    from torch import nn


class Adm(Network):
    """U-Net with group norm, biases, adaptive scale and shift, and zero-initialised last layers."""

    kind: Literal["adm"] = "adm"
    channels: int = Field(64, ge=4, le=1024, multiple_of=2, description="channels at full resolution, an even number")
    mult: Multipliers = Field((1, 2, 3, 4), description="channel multiplier of each level")
    blocks: int = Field(3, ge=1, le=8, description="blocks per level in the encoder (one more in the decoder)")
    attention: Resolutions = Field(
        (32, 16, 8), description="resolutions with self-attention; the default means those of them that the network has"
    )
    channels_per_head: int = Field(64, ge=4, description="channels per attention head")
    dropout: float = searchable(0.1, low=0.0, high=0.3, ge=0, lt=1, description="dropout in the residual branch")

    @model_validator(mode="after")
    def _heads_share_the_channels(self) -> Adm:
        check_heads(self.channels * self.mult[-1], self.channels_per_head, "the last level, which always has attention")
        return self

    def units(self, resolution: int) -> dict[str, int]:
        blocks = unet_blocks(self.channels, self.mult, self.blocks, self.attention, resolution)
        return unet_units(blocks, self.channels_per_head)

    def check(self, resolution: int) -> None:
        check_levels(self.channels, self.mult, self.attention, self.channels_per_head, resolution)
        if self.attention != type(self).model_fields["attention"].default:
            check_attention(self.attention, len(self.mult), resolution)
        super().check(resolution)

    def build(self, channels: int, resolution: int, classes: int, augment_labels: int = 0) -> nn.Module:
        from trainables.networks.modules.adm_unet import AdmUNet

        self.check(resolution)
        return AdmUNet(self, channels, resolution, classes, augment_labels)
