"""The EDM2 U-Net (Karras et al. 2024, section 2 and appendix B): config G, and the switches back towards config C."""

from __future__ import annotations

import math
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.networks.modules.magnitude import SILU_GAIN, MPConv, MPFourier, mp_cat, mp_silu, mp_sum, pixel_norm, rms_unit

_CLAMP = 256.0  # activations beyond this are cut, so that half precision never overflows
_GROUPS = 32


class Edm2Shape(Protocol):
    """What decides the network; described where it is set, in `networks/edm2.py`."""

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
    def label_balance(self) -> float: ...

    @property
    def concat_balance(self) -> float: ...

    @property
    def res_balance(self) -> float: ...

    @property
    def attn_balance(self) -> float: ...

    @property
    def dropout(self) -> float: ...

    @property
    def weight_norm(self) -> str: ...

    @property
    def magnitude_preserving(self) -> bool: ...

    @property
    def learned_gains(self) -> bool: ...

    @property
    def normalisation(self) -> str: ...

    @property
    def cosine_attention(self) -> bool: ...

    @property
    def constant_channel(self) -> bool: ...


class Pieces:
    """The elementary operations that the settings switch."""

    def __init__(self, settings: Edm2Shape) -> None:
        self.settings = settings
        self.preserving = settings.magnitude_preserving
        self.silu_gain = SILU_GAIN if self.preserving else 1.0

    def conv(self, inputs: int, outputs: int, kernel: int = 0) -> MPConv:
        return MPConv(inputs, outputs, kernel, self.settings.weight_norm)

    def gain(self) -> nn.Parameter | None:
        return nn.Parameter(torch.zeros([])) if self.settings.learned_gains else None

    def silu(self, x: Tensor) -> Tensor:
        return mp_silu(x) if self.preserving else F.silu(x)

    def shares(self, t: float) -> tuple[float, float]:
        """Factors (main, branch) of a sum: those of mp_sum, or 1 and 1."""
        norm = math.hypot(1.0 - t, t)
        return ((1.0 - t) / norm, t / norm) if self.preserving else (1.0, 1.0)

    def sum(self, a: Tensor, b: Tensor, t: float) -> Tensor:
        return mp_sum(a, b, t) if self.preserving else a + b

    def cat(self, a: Tensor, b: Tensor) -> Tensor:
        return mp_cat(a, b, self.settings.concat_balance) if self.preserving else torch.cat([a, b], dim=1)

    def pre_norm(self, x: Tensor) -> Tensor:
        """Group norm without mean or affine map, where the settings ask for it."""
        if self.settings.normalisation != "group":
            return x
        n, c, h, w = x.shape
        groups = min(_GROUPS, max(c // 4, 1))
        while c % groups:
            groups -= 1
        return rms_unit(x.reshape(n, groups, -1), (2,)).reshape(n, c, h, w)


class Edm2UNet(nn.Module):
    """F(z; c_noise, labels): encoder and decoder of residual blocks with skip connections; out_gain starts at 0."""

    def __init__(self, settings: Edm2Shape, channels: int, resolution: int, classes: int) -> None:
        super().__init__()
        self.pieces = pieces = Pieces(settings)
        widths = [settings.channels * m for m in settings.mult]
        embedding = max(widths)
        self.label_balance, self.constant_channel = settings.label_balance, settings.constant_channel
        self.fourier = MPFourier(widths[0]) if settings.magnitude_preserving else MPFourier(widths[0], scale=1.0)
        self.embed_noise = pieces.conv(widths[0], embedding)
        self.embed_label = pieces.conv(classes, embedding) if classes else None
        self.out_gain = pieces.gain()

        def block(inputs: int, outputs: int, at: int, *, flavour: Literal["enc", "dec"],
                  resample: Literal["keep", "up", "down"] = "keep", attention: bool | None = None) -> Block:
            wanted = at in settings.attention and resample == "keep" if attention is None else attention
            return Block(inputs, outputs, embedding, flavour, resample, wanted, pieces)

        width, skips = widths[0], [widths[0]]
        self.encoder = nn.ModuleDict({f"{resolution}_conv": pieces.conv(channels + self.constant_channel, width, 3)})
        for level, w in enumerate(widths):
            at = resolution >> level
            if level:
                self.encoder[f"{at}_down"] = block(width, width, at, flavour="enc", resample="down")
                skips.append(width)
            for i in range(settings.blocks):
                self.encoder[f"{at}_block{i}"] = block(width, w, at, flavour="enc")
                width = w
                skips.append(width)

        self.decoder = nn.ModuleDict()
        for level, w in reversed(list(enumerate(widths))):
            at = resolution >> level
            if level == len(widths) - 1:
                self.decoder[f"{at}_in0"] = block(width, width, at, flavour="dec", attention=True)
                self.decoder[f"{at}_in1"] = block(width, width, at, flavour="dec", attention=False)
            else:
                self.decoder[f"{at}_up"] = block(width, width, at, flavour="dec", resample="up")
            for i in range(settings.blocks + 1):
                self.decoder[f"{at}_block{i}"] = block(width + skips.pop(), w, at, flavour="dec")
                width = w
        self.out_conv = pieces.conv(width, channels, 3)
        if self.out_gain is None and settings.weight_norm == "none":
            nn.init.zeros_(self.out_conv.weight)  # without a gain, the last layer itself starts at 0

    def forward(self, z_NCHW: Tensor, c_noise_N: Tensor, labels_NK: Tensor | None = None) -> Tensor:
        pieces = self.pieces
        embedding = self.embed_noise(self.fourier(c_noise_N).to(z_NCHW.dtype))
        if self.embed_label is not None:
            if labels_NK is None:
                labels_NK = z_NCHW.new_zeros(1, self.embed_label.weight.shape[1])
            label = self.embed_label(labels_NK.to(z_NCHW.dtype) * labels_NK.shape[1] ** 0.5)
            embedding = pieces.sum(embedding, label.expand_as(embedding), self.label_balance)
        embedding = pieces.silu(embedding)

        x = torch.cat([z_NCHW, torch.ones_like(z_NCHW[:, :1])], dim=1) if self.constant_channel else z_NCHW
        skips = []
        for block in self.encoder.values():
            x = block(x) if isinstance(block, MPConv) else block(x, embedding)
            skips.append(x)
        for name, block in self.decoder.items():
            if "block" in name:
                x = pieces.cat(x, skips.pop())
            x = block(x, embedding)
        return self.out_conv(pieces.pre_norm(x), gain=1.0 if self.out_gain is None else self.out_gain)


class Block(nn.Module):
    """A residual block: pixel norm first in the encoder, 1x1 convolution where the width changes, optional attention."""

    def __init__(self, inputs: int, outputs: int, embedding: int, flavour: str, resample: str, attention: bool, pieces: Pieces) -> None:
        super().__init__()
        settings = pieces.settings
        self.pieces, self.flavour, self.resample = pieces, flavour, resample
        self.dropout, self.res_balance, self.attn_balance = settings.dropout, settings.res_balance, settings.attn_balance
        self.heads = max(outputs // settings.channels_per_head, 1) if attention else 0
        self.emb_gain = pieces.gain()
        self.conv0 = pieces.conv(outputs if flavour == "enc" else inputs, outputs, 3)
        self.emb_linear = pieces.conv(embedding, outputs)
        self.conv1 = pieces.conv(outputs, outputs, 3)
        self.skip = pieces.conv(inputs, outputs, 1) if inputs != outputs else None
        self.attn_qkv = pieces.conv(outputs, 3 * outputs, 1) if attention else None
        self.attn_proj = pieces.conv(outputs, outputs, 1) if attention else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        pieces = self.pieces
        if self.resample == "down":
            x = F.avg_pool2d(x, 2)
        elif self.resample == "up":
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        if self.flavour == "enc":
            if self.skip is not None:
                x = self.skip(x)
            if pieces.settings.normalisation == "pixel":
                x = pixel_norm(x)

        # Constant factors go into the (small) weights instead of the (large) activations: a fifth of the step's time.
        y = self.conv0(F.silu(pieces.pre_norm(x)), gain=pieces.silu_gain)
        scale = self.emb_linear(embedding, gain=1.0 if self.emb_gain is None else self.emb_gain) + 1.0
        y = F.silu(pieces.pre_norm(y) * scale[:, :, None, None].to(y.dtype))
        if self.dropout:
            y = F.dropout(y, self.dropout, training=self.training)
        main, branch = pieces.shares(self.res_balance)
        y = self.conv1(y, gain=pieces.silu_gain * branch)

        if self.flavour == "dec" and self.skip is not None:
            x = self.skip(x)
        x = torch.add(y, x, alpha=main)
        if self.heads:
            main, branch = pieces.shares(self.attn_balance)
            x = torch.add(self._attend(pieces.pre_norm(x), branch), x, alpha=main)
        return F.hardtanh(x, -_CLAMP, _CLAMP)  # clamp, with a cheaper backward pass

    def _attend(self, x: Tensor, gain: float) -> Tensor:
        assert self.attn_qkv is not None and self.attn_proj is not None  # heads > 0
        n, c, h, w = x.shape
        qkv = self.attn_qkv(x).reshape(n, self.heads, c // self.heads, 3, h * w)
        if self.pieces.settings.cosine_attention:
            qkv = rms_unit(qkv, (2,))  # q, k and v of unit RMS
        q, k, v = qkv.permute(3, 0, 1, 4, 2).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.attn_proj(y.transpose(2, 3).reshape(n, c, h, w), gain=gain)
