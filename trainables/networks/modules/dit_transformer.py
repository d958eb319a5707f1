"""The diffusion transformer DiT (Peebles & Xie 2023, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.networks.modules.adm_unet import positions, zeroed
from trainables.networks.modules.units import Part, Prunable, Units

_FREQUENCIES = 256
_TIME_SCALE = 250.0  # c_noise spans about -1.6 .. 1.1; the features were made for steps 0 .. 1000


class DitShape(Protocol):
    """What decides the network; described where it is set, in `networks/dit.py`."""

    @property
    def width(self) -> int: ...

    @property
    def depth(self) -> int: ...

    @property
    def heads(self) -> int: ...

    @property
    def patch(self) -> int: ...

    @property
    def mlp_ratio(self) -> float: ...

    @property
    def dropout(self) -> float: ...

    @property
    def widths(self) -> Mapping[str, int]: ...


class DitTransformer(nn.Module):
    """F(z; c_noise, labels, augment labels); the output layer starts at zero."""

    places: Tensor

    def __init__(self, settings: DitShape, channels: int, resolution: int, classes: int, augment_labels: int = 0) -> None:
        super().__init__()
        width, self.patch, self.side, self.channels = settings.width, settings.patch, resolution // settings.patch, channels
        self.embed_patch = nn.Conv2d(channels, width, settings.patch, settings.patch)
        self.embed_noise = nn.Sequential(nn.Linear(_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.embed_label = nn.Linear(classes, width, bias=False) if classes else None
        self.register_buffer("places", grid_positions(width, self.side), persistent=False)
        blocks = [Block(settings, i) for i in range(settings.depth)]
        self.blocks = nn.ModuleList(blocks)
        self.out_norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.out_modulation = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, settings.patch**2 * channels)
        self._initialise(blocks)
        self.embed_augment = zeroed(nn.Linear(augment_labels, width, bias=False)) if augment_labels else None

    def forward(self, z_NCHW: Tensor, c_noise_N: Tensor, labels_NK: Tensor | None = None, augment_NA: Tensor | None = None) -> Tensor:
        x = self.embed_patch(z_NCHW).flatten(2).transpose(1, 2) + self.places.to(z_NCHW.dtype)
        condition = self.embed_noise(positions(c_noise_N * _TIME_SCALE, _FREQUENCIES).to(z_NCHW.dtype))
        if self.embed_label is not None and labels_NK is not None:
            condition = condition + self.embed_label(labels_NK.to(z_NCHW.dtype))
        if self.embed_augment is not None and augment_NA is not None:
            condition = condition + self.embed_augment(augment_NA.to(z_NCHW.dtype))
        condition = F.silu(condition)
        for block in self.blocks:
            x = block(x, condition)
        shift, scale = self.out_modulation(condition)[:, None].chunk(2, dim=-1)
        x = self.out(self.out_norm(x) * (1 + scale) + shift)
        x = x.reshape(-1, self.side, self.side, self.patch, self.patch, self.channels)
        return x.permute(0, 5, 1, 3, 2, 4).reshape(z_NCHW.shape)

    def _initialise(self, blocks: list[Block]) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.embed_patch.weight.view(self.embed_patch.weight.shape[0], -1))
        for embedding in (self.embed_noise[0], self.embed_noise[2], self.embed_label):
            if isinstance(embedding, nn.Linear):
                nn.init.normal_(embedding.weight, std=0.02)
        for layer in [self.out_modulation, self.out, *(block.modulation for block in blocks)]:
            nn.init.zeros_(layer.weight)


class Block(Prunable):
    """Attention and MLP, each modulated and gated by the condition; at the start both are the identity."""

    def __init__(self, settings: DitShape, number: int) -> None:
        super().__init__()
        width = settings.width
        self.hidden = settings.widths.get(f"blocks/{number}/mlp", int(width * settings.mlp_ratio))
        self.heads, self.per_head = settings.widths.get(f"blocks/{number}/heads", settings.heads), width // settings.heads
        self.dropout = settings.dropout
        attended = self.heads * self.per_head
        self.norm0 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.qkv, self.proj = nn.Linear(width, 3 * attended), nn.Linear(attended, width)
        self.mlp = nn.Sequential(nn.Linear(width, self.hidden), nn.GELU(approximate="tanh"), nn.Linear(self.hidden, width))
        self.modulation = nn.Linear(width, 6 * width)

    def forward(self, x_NLD: Tensor, condition_ND: Tensor) -> Tensor:
        shift0, scale0, gate0, shift1, scale1, gate1 = self.modulation(condition_ND)[:, None].chunk(6, dim=-1)
        y = self._attend(self.norm0(x_NLD) * (1 + scale0) + shift0)
        x = x_NLD + gate0 * F.dropout(y, self.dropout, self.training)
        y = self.mlp(self.norm1(x) * (1 + scale1) + shift1)
        return x + gate1 * F.dropout(y, self.dropout, self.training)

    def _attend(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        q, k, v = self.qkv(x).reshape(n, length, 3, self.heads, self.per_head).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, -1))

    def units(self) -> list[Units]:
        made = tuple(Part(name, 0, outer=3, inner=self.per_head) for name in ("qkv.weight", "qkv.bias"))
        return [
            Units("heads", self.heads, made, Part("proj.weight", 1, inner=self.per_head), attends=True),
            Units("mlp", self.hidden, (Part("mlp.0.weight", 0), Part("mlp.0.bias", 0)), Part("mlp.2.weight", 1)),
        ]


def grid_positions(width: int, side: int) -> Tensor:
    """Sinusoidal features [side^2, width] of the rows and columns of a square grid."""
    places = torch.arange(side, dtype=torch.float32)
    axis = positions(places, width // 2)
    rows, columns = axis[:, None].expand(side, side, -1), axis[None].expand(side, side, -1)
    return torch.cat([rows, columns], dim=-1).reshape(side * side, width)
