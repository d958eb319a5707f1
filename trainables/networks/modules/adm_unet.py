"""The ADM U-Net (Dhariwal & Nichol 2021), in the form in which EDM trains it (Karras et al. 2022, appendix F)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.networks.blocks import BlockShape, head_count, unet_blocks
from trainables.networks.modules.group_norms import group_count, group_norm
from trainables.networks.modules.units import Part, Prunable, Units

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


class AdmShape(Protocol):
    """What decides the network; described where it is set, in `networks/adm.py`."""

    @property
    def channels(self) -> int: ...

    @property
    def mult(self) -> tuple[int, ...]: ...

    @property
    def blocks(self) -> int: ...

    @property
    def attention(self) -> tuple[int, ...]: ...

    @property
    def channels_per_head(self) -> int: ...

    @property
    def dropout(self) -> float: ...

    @property
    def widths(self) -> Mapping[str, int]: ...


class AdmUNet(nn.Module):
    """F(z; c_noise, labels, augment labels)."""

    def __init__(self, settings: AdmShape, channels: int, resolution: int, classes: int, augment_labels: int = 0) -> None:
        super().__init__()
        widths = [settings.channels * m for m in settings.mult]
        self.frequencies, embedding = settings.channels, 4 * settings.channels
        self.embed0 = nn.Linear(settings.channels, embedding)
        self.embed1 = nn.Linear(embedding, embedding)
        self.embed_label = nn.Linear(classes, embedding, bias=False) if classes else None
        if self.embed_label is not None:
            nn.init.normal_(self.embed_label.weight, std=1.0 / math.sqrt(classes))

        self.encoder = nn.ModuleDict({f"{resolution}_conv": nn.Conv2d(channels, widths[0], 3, padding=1)})
        self.decoder = nn.ModuleDict()
        for shape in unet_blocks(settings.channels, settings.mult, settings.blocks, settings.attention, resolution):
            side = self.encoder if shape.side == "encoder" else self.decoder
            side[shape.name] = Block(shape, embedding, settings)
        self.out_norm = group_norm(widths[0])
        self.out_conv = zeroed(nn.Conv2d(widths[0], channels, 3, padding=1))
        self.embed_augment = zeroed(nn.Linear(augment_labels, embedding, bias=False)) if augment_labels else None

    def forward(self, z_NCHW: Tensor, c_noise_N: Tensor, labels_NK: Tensor | None = None, augment_NA: Tensor | None = None) -> Tensor:
        embedding = positions(c_noise_N, self.frequencies).to(z_NCHW.dtype)
        embedding = self.embed1(F.silu(self.embed0(embedding)))
        if self.embed_label is not None and labels_NK is not None:
            embedding = embedding + self.embed_label(labels_NK.to(z_NCHW.dtype) * labels_NK.shape[1] ** 0.5)
        if self.embed_augment is not None and augment_NA is not None:
            embedding = embedding + self.embed_augment(augment_NA.to(z_NCHW.dtype))
        embedding = F.silu(embedding)
        x, skips = z_NCHW, []
        for block in self.encoder.values():
            x = block(x) if isinstance(block, nn.Conv2d) else block(x, embedding)
            skips.append(x)
        for name, block in self.decoder.items():
            x = block(torch.cat([x, skips.pop()], dim=1) if "block" in name else x, embedding)
        return self.out_conv(F.silu(self.out_norm(x)))


class Block(Prunable):
    """A residual block with adaptive scale and shift; the last convolution and the attention's projection start at 0."""

    def __init__(self, shape: BlockShape, embedding: int, settings: AdmShape) -> None:
        super().__init__()
        inputs, outputs = shape.inputs, shape.outputs
        self.resample, self.dropout = shape.resample, settings.dropout
        self.outputs = outputs
        self.hidden = settings.widths.get(shape.unit("hidden"), outputs)
        all_heads = head_count(outputs, settings.channels_per_head)
        self.per_head = outputs // all_heads
        self.heads = settings.widths.get(shape.unit("heads"), all_heads) if shape.attention else 0
        self.norm0, self.conv0 = group_norm(inputs), nn.Conv2d(inputs, self.hidden, 3, padding=1)
        self.affine = nn.Linear(embedding, 2 * self.hidden)
        self.norm1, self.conv1 = group_norm(outputs, self.hidden), zeroed(nn.Conv2d(self.hidden, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None
        if self.heads:
            attended = self.heads * self.per_head
            self.norm2, self.qkv = group_norm(outputs), nn.Conv2d(outputs, 3 * attended, 1)
            self.proj = zeroed(nn.Conv2d(attended, outputs, 1))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        y = self.conv0(self._resample(F.silu(self.norm0(x))))
        scale, shift = self.affine(embedding)[:, :, None, None].chunk(2, dim=1)
        y = F.silu(torch.addcmul(shift, self.norm1(y), scale + 1.0))
        y = self.conv1(F.dropout(y, self.dropout, training=self.training))
        x = self._resample(x)
        x = y + (x if self.skip is None else self.skip(x))
        return x + self._attend(x) if self.heads else x

    def _resample(self, x: Tensor) -> Tensor:
        if self.resample == "down":
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2, mode="nearest") if self.resample == "up" else x

    def _attend(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        q, k, v = self.qkv(self.norm2(x)).reshape(n, self.heads, self.per_head, 3, h * w).permute(3, 0, 1, 4, 2).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(n, -1, h, w))

    def units(self) -> list[Units]:
        rows = [Part(name, 0) for name in ("conv0.weight", "conv0.bias", "norm1.weight", "norm1.bias")]
        rows += [Part(name, 0, outer=2) for name in ("affine.weight", "affine.bias")]  # scales, then shifts
        found = [Units("hidden", self.hidden, tuple(rows), Part("conv1.weight", 1), group_count(self.outputs), "norm1.group_of")]
        if self.heads:
            made = tuple(Part(name, 0, inner=3 * self.per_head) for name in ("qkv.weight", "qkv.bias"))
            found.append(Units("heads", self.heads, made, Part("proj.weight", 1, inner=self.per_head), attends=True))
        return found


def zeroed(layer: Layer) -> Layer:
    """The same layer, starting as the zero map."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def positions(c_N: Tensor, size: int, longest: float = 10_000.0) -> Tensor:
    """Sinusoidal features [N, size] of a number (Vaswani et al. 2017)."""
    half = size // 2
    rates = longest ** (-torch.arange(half, dtype=torch.float32, device=c_N.device) / half)
    angles = torch.outer(c_N.float(), rates)
    return torch.cat([angles.cos(), angles.sin()], dim=1)
