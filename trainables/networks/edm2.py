"""Settings of the EDM2 U-Net (config G of Karras et al. 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from trainables.errors import ConfigError, did_you_mean
from trainables.method import searchable
from trainables.networks.blocks import unet_blocks, unet_units
from trainables.networks.network import Multipliers, Network, Resolutions, check_attention, check_heads, check_levels

if TYPE_CHECKING:
    from torch import nn


class Edm2(Network):
    """Magnitude-preserving U-Net; the defaults are the shape of EDM2-S with a number of channels for small images."""

    kind: Literal["edm2"] = "edm2"
    channels: int = Field(32, ge=4, le=1024, description="channels at full resolution")
    mult: Multipliers = Field((1, 2, 3, 4), description="channel multiplier of each level")
    blocks: int = Field(3, ge=1, le=8, description="blocks per level in the encoder (one more in the decoder)")
    attention: Resolutions = Field(
        (16, 8), description="resolutions with self-attention; the default means those of them that the network has"
    )
    channels_per_head: int = Field(64, ge=4, description="channels per attention head")
    label_balance: float = Field(0.5, ge=0, le=1, description="share of the label in the embedding")
    concat_balance: float = Field(0.5, ge=0, le=1, description="share of the skip connection")
    res_balance: float = Field(0.3, ge=0, le=1, description="share of the residual branch")
    attn_balance: float = Field(0.3, ge=0, le=1, description="share of the attention branch")
    dropout: float = searchable(0.0, low=0.0, high=0.2, ge=0, lt=1, description="dropout in the residual branch")
    weight_norm: Literal["forced", "standard", "none"] = Field(
        "forced", description="forced: weights are kept at unit norm (configs E-G); standard: normed in use only (D); none (A-C)"
    )
    magnitude_preserving: bool = Field(True, description="scaled SiLU, sums, concatenation and Fourier features (config G)")
    learned_gains: bool = Field(True, description="zero-initialised gains per block and at the output (config G)")
    normalisation: Literal["pixel", "group"] = Field(
        "pixel", description="pixel norm in the encoder (configs F, G), or group norm without mean or affine maps before each SiLU (C-E)"
    )
    cosine_attention: bool = Field(True, description="queries, keys and values of unit norm (configs C-G)")
    constant_channel: bool = Field(True, description="an input channel of ones in place of biases (configs C-G)")

    @model_validator(mode="after")
    def _heads_share_the_channels(self) -> Edm2:
        check_heads(self.channels * self.mult[-1], self.channels_per_head, "the last level, which always has attention")
        return self

    def units(self, resolution: int) -> dict[str, int]:
        blocks = unet_blocks(self.channels, self.mult, self.blocks, self.attention, resolution)
        return unet_units(blocks, self.channels_per_head)

    @property
    def forces_norms(self) -> bool:
        return self.weight_norm == "forced"

    def check(self, resolution: int) -> None:
        check_levels(self.channels, self.mult, self.attention, self.channels_per_head, resolution)
        if self.attention != type(self).model_fields["attention"].default:
            check_attention(self.attention, len(self.mult), resolution)
        super().check(resolution)

    def build(self, channels: int, resolution: int, classes: int, augment_labels: int = 0) -> nn.Module:
        from trainables.networks.modules.edm2_unet import Edm2UNet

        self.check(resolution)
        return Edm2UNet(self, channels, resolution, classes, augment_labels)


# Model channels of the published sizes (Karras et al. 2024, table 6) and of ours for 8 to 32 pixels.
SIZES = {"tiny-8": 8, "tiny-16": 16, "tiny-32": 32, "XXS": 64, "XS": 128, "S": 192, "M": 256, "L": 320, "XL": 384, "XXL": 448}


def preset(size: str) -> Edm2:
    """A published size (XXS .. XXL), or a tiny one for images of 8 to 32 pixels."""
    if size not in SIZES:
        raise ConfigError(f"EDM2 size '{size}' is not known. Allowed: {', '.join(SIZES)}.{did_you_mean(size, SIZES)}")
    channels = SIZES[size]
    if size.startswith("tiny"):
        return Edm2(channels=channels, mult=(1, 2), blocks=1 if channels < 32 else 2, channels_per_head=16)
    return Edm2(channels=channels, dropout=0.0 if channels <= 192 else 0.1)
