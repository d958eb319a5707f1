"""The ADM U-Net (Dhariwal & Nichol 2021), in the form in which EDM trains it (Karras et al. 2022, appendix F)."""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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


class AdmUNet(nn.Module):
    """F(z; c_noise, labels)."""

    def __init__(self, settings: AdmShape, channels: int, resolution: int, classes: int) -> None:
        super().__init__()
        widths = [settings.channels * m for m in settings.mult]
        self.frequencies, embedding = settings.channels, 4 * settings.channels
        self.embed0 = nn.Linear(settings.channels, embedding)
        self.embed1 = nn.Linear(embedding, embedding)
        self.embed_label = nn.Linear(classes, embedding, bias=False) if classes else None
        if self.embed_label is not None:
            nn.init.normal_(self.embed_label.weight, std=1.0 / math.sqrt(classes))

        def block(inputs: int, outputs: int, at: int, resample: str = "keep", attention: bool | None = None) -> Block:
            wanted = at in settings.attention and resample == "keep" if attention is None else attention
            return Block(inputs, outputs, embedding, resample, wanted, settings)

        width, skips = widths[0], [widths[0]]
        self.encoder = nn.ModuleDict({f"{resolution}_conv": nn.Conv2d(channels, width, 3, padding=1)})
        for level, w in enumerate(widths):
            at = resolution >> level
            if level:
                self.encoder[f"{at}_down"] = block(width, width, at, "down")
                skips.append(width)
            for i in range(settings.blocks):
                self.encoder[f"{at}_block{i}"] = block(width, w, at)
                width = w
                skips.append(width)

        self.decoder = nn.ModuleDict()
        for level, w in reversed(list(enumerate(widths))):
            at = resolution >> level
            if level == len(widths) - 1:
                self.decoder[f"{at}_in0"] = block(width, width, at, attention=True)
                self.decoder[f"{at}_in1"] = block(width, width, at, attention=False)
            else:
                self.decoder[f"{at}_up"] = block(width, width, at, "up")
            for i in range(settings.blocks + 1):
                self.decoder[f"{at}_block{i}"] = block(width + skips.pop(), w, at)
                width = w
        self.out_norm = group_norm(width)
        self.out_conv = zeroed(nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, z_NCHW: Tensor, c_noise_N: Tensor, labels_NK: Tensor | None = None) -> Tensor:
        embedding = positions(c_noise_N, self.frequencies).to(z_NCHW.dtype)
        embedding = self.embed1(F.silu(self.embed0(embedding)))
        if self.embed_label is not None and labels_NK is not None:
            embedding = embedding + self.embed_label(labels_NK.to(z_NCHW.dtype) * labels_NK.shape[1] ** 0.5)
        embedding = F.silu(embedding)
        x, skips = z_NCHW, []
        for block in self.encoder.values():
            x = block(x) if isinstance(block, nn.Conv2d) else block(x, embedding)
            skips.append(x)
        for name, block in self.decoder.items():
            x = block(torch.cat([x, skips.pop()], dim=1) if "block" in name else x, embedding)
        return self.out_conv(F.silu(self.out_norm(x)))


class Block(nn.Module):
    """A residual block with adaptive scale and shift; the last convolution and the attention's projection start at 0."""

    def __init__(self, inputs: int, outputs: int, embedding: int, resample: str, attention: bool, settings: AdmShape) -> None:
        super().__init__()
        self.resample, self.dropout = resample, settings.dropout
        self.heads = max(outputs // settings.channels_per_head, 1) if attention else 0
        self.norm0, self.conv0 = group_norm(inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.affine = nn.Linear(embedding, 2 * outputs)
        self.norm1, self.conv1 = group_norm(outputs), zeroed(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None
        if attention:
            self.norm2, self.qkv = group_norm(outputs), nn.Conv2d(outputs, 3 * outputs, 1)
            self.proj = zeroed(nn.Conv2d(outputs, outputs, 1))

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
        n, c, h, w = x.shape
        q, k, v = self.qkv(self.norm2(x)).reshape(n, self.heads, c // self.heads, 3, h * w).permute(3, 0, 1, 4, 2).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(n, c, h, w))


def group_norm(channels: int) -> nn.GroupNorm:
    """Groups of at least 4 channels, at most 32 groups."""
    groups = min(32, max(channels // 4, 1))
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels, eps=1e-5)


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
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
