"""Settings of the diffusion transformer (Peebles & Xie 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from trainables.errors import ConfigError, did_you_mean
from trainables.method import searchable
from trainables.networks.network import Network

if TYPE_CHECKING:
    from torch import nn


class Dit(Network):
    """Transformer over patches with adaptive layer norm that starts at zero (adaLN-Zero)."""

    kind: Literal["dit"] = "dit"
    width: int = Field(384, ge=16, le=4096, description="features per token")
    depth: int = Field(12, ge=1, le=100, description="number of blocks")
    heads: int = Field(6, ge=1, le=64, description="attention heads; must divide width")
    patch: int = Field(2, ge=1, le=16, description="pixels per side of a patch")
    mlp_ratio: float = Field(4.0, ge=0.1, le=64, description="hidden features of the MLP per feature")
    dropout: float = searchable(0.0, low=0.0, high=0.2, ge=0, lt=1, description="dropout after attention and MLP")

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Dit:
        if self.width % self.heads or self.width % 4:
            raise ValueError(f"width = {self.width} must be a multiple of 4 and of heads = {self.heads}")
        return self

    def units(self, resolution: int) -> dict[str, int]:
        roles = {"heads": self.heads, "mlp": int(self.width * self.mlp_ratio)}
        return {f"blocks/{i}/{role}": count for i in range(self.depth) for role, count in roles.items() if count > 1}

    def check(self, resolution: int) -> None:
        if resolution % self.patch:
            raise ValueError(f"patches of {self.patch} pixels do not divide images of {resolution}")
        super().check(resolution)

    def build(self, channels: int, resolution: int, classes: int, augment_labels: int = 0) -> nn.Module:
        from trainables.networks.modules.dit_transformer import DitTransformer

        self.check(resolution)
        return DitTransformer(self, channels, resolution, classes, augment_labels)


SIZES = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "XL": (1152, 28, 16)}


def preset(size: str, patch: int = 2) -> Dit:
    """A published size: S, B, L or XL."""
    if size not in SIZES:
        raise ConfigError(f"DiT size '{size}' is not known. Allowed: {', '.join(SIZES)}.{did_you_mean(size, SIZES)}")
    width, depth, heads = SIZES[size]
    return Dit(width=width, depth=depth, heads=heads, patch=patch)
