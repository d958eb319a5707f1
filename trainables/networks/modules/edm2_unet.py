"""The EDM2 U-Net (Karras et al. 2024, section 2 and appendix B): config G, and the switches back towards config C."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.networks.blocks import BlockShape, head_count, unet_blocks
from trainables.networks.modules.group_norms import PartialGroupRms, group_count, group_rms
from trainables.networks.modules.magnitude import SILU_GAIN, MPConv, MPFourier, mp_cat, mp_silu, mp_sum, pixel_norm, rms_unit
from trainables.networks.modules.units import Part, Prunable, Units

_CLAMP = 256.0  # activations beyond this are cut, so that half precision never overflows


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

    @property
    def widths(self) -> Mapping[str, int]: ...


class Pieces:
    """The elementary operations that the settings switch."""

    def __init__(self, settings: Edm2Shape) -> None:
        self.settings = settings
        self.preserving = settings.magnitude_preserving
        self.silu_gain = SILU_GAIN if self.preserving else 1.0

    def conv(self, inputs: int, outputs: int, kernel: int = 0, lost_inputs: int = 0) -> MPConv:
        return MPConv(inputs, outputs, kernel, self.settings.weight_norm, lost_inputs)

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
        return group_rms(x) if self.settings.normalisation == "group" else x


class Edm2UNet(nn.Module):
    """F(z; c_noise, labels, augment labels): encoder and decoder of residual blocks with skip connections; out_gain starts at 0."""

    def __init__(self, settings: Edm2Shape, channels: int, resolution: int, classes: int, augment_labels: int = 0) -> None:
        super().__init__()
        self.pieces = pieces = Pieces(settings)
        widths = [settings.channels * m for m in settings.mult]
        embedding = max(widths)
        self.label_balance, self.constant_channel = settings.label_balance, settings.constant_channel
        self.fourier = MPFourier(widths[0]) if settings.magnitude_preserving else MPFourier(widths[0], scale=1.0)
        self.embed_noise = pieces.conv(widths[0], embedding)
        self.embed_label = pieces.conv(classes, embedding) if classes else None
        self.out_gain = pieces.gain()

        self.encoder = nn.ModuleDict({f"{resolution}_conv": pieces.conv(channels + self.constant_channel, widths[0], 3)})
        self.decoder = nn.ModuleDict()
        for shape in unet_blocks(settings.channels, settings.mult, settings.blocks, settings.attention, resolution):
            side = self.encoder if shape.side == "encoder" else self.decoder
            side[shape.name] = Block(shape, embedding, pieces)
        self.out_conv = pieces.conv(widths[0], channels, 3)
        if self.out_gain is None and settings.weight_norm == "none":
            nn.init.zeros_(self.out_conv.weight)  # without a gain, the last layer itself starts at 0
        self.embed_augment = pieces.conv(augment_labels, embedding) if augment_labels else None
        self.augment_gain = pieces.gain() if augment_labels else None

    def forward(self, z_NCHW: Tensor, c_noise_N: Tensor, labels_NK: Tensor | None = None, augment_NA: Tensor | None = None) -> Tensor:
        pieces = self.pieces
        embedding = self.embed_noise(self.fourier(c_noise_N).to(z_NCHW.dtype))
        if self.embed_label is not None:
            if labels_NK is None:
                labels_NK = z_NCHW.new_zeros(1, self.embed_label.weight.shape[1])
            label = self.embed_label(labels_NK.to(z_NCHW.dtype) * labels_NK.shape[1] ** 0.5)
            embedding = pieces.sum(embedding, label.expand_as(embedding), self.label_balance)
        if self.embed_augment is not None and augment_NA is not None:  # added, so that labels of zero leave the magnitude as it is
            gain = 1.0 if self.augment_gain is None else self.augment_gain
            embedding = embedding + self.embed_augment(augment_NA.to(z_NCHW.dtype), gain=gain)
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


class Block(Prunable):
    """A residual block: pixel norm first in the encoder, 1x1 convolution where the width changes, optional attention."""

    def __init__(self, shape: BlockShape, embedding: int, pieces: Pieces) -> None:
        super().__init__()
        settings = pieces.settings
        inputs, outputs = shape.inputs, shape.outputs
        self.pieces, self.side, self.resample = pieces, shape.side, shape.resample
        self.dropout, self.res_balance, self.attn_balance = settings.dropout, settings.res_balance, settings.attn_balance
        self.outputs = outputs
        self.hidden = settings.widths.get(shape.unit("hidden"), outputs)
        all_heads = head_count(outputs, settings.channels_per_head)
        self.per_head = outputs // all_heads
        self.heads = settings.widths.get(shape.unit("heads"), all_heads) if shape.attention else 0
        attended = self.heads * self.per_head
        self.emb_gain = pieces.gain()
        self.conv0 = pieces.conv(outputs if shape.side == "encoder" else inputs, self.hidden, 3)
        self.emb_linear = pieces.conv(embedding, self.hidden)
        partial = settings.normalisation == "group" and self.hidden < outputs
        self.hidden_norm = PartialGroupRms(outputs, self.hidden) if partial else None
        self.conv1 = pieces.conv(self.hidden, outputs, 3, outputs - self.hidden)
        self.skip = pieces.conv(inputs, outputs, 1) if inputs != outputs else None
        self.attn_qkv = pieces.conv(outputs, 3 * attended, 1) if shape.attention else None
        self.attn_proj = pieces.conv(attended, outputs, 1, outputs - attended) if shape.attention else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        pieces = self.pieces
        if self.resample == "down":
            x = F.avg_pool2d(x, 2)
        elif self.resample == "up":
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        if self.side == "encoder":
            if self.skip is not None:
                x = self.skip(x)
            if pieces.settings.normalisation == "pixel":
                x = pixel_norm(x)

        # Constant factors go into the (small) weights instead of the (large) activations: a fifth of the step's time.
        y = self.conv0(F.silu(pieces.pre_norm(x)), gain=pieces.silu_gain)
        scale = self.emb_linear(embedding, gain=1.0 if self.emb_gain is None else self.emb_gain) + 1.0
        y = pieces.pre_norm(y) if self.hidden_norm is None else self.hidden_norm(y)
        y = F.silu(y * scale[:, :, None, None].to(y.dtype))
        if self.dropout:
            y = F.dropout(y, self.dropout, training=self.training)
        main, branch = pieces.shares(self.res_balance)
        y = self.conv1(y, gain=pieces.silu_gain * branch)

        if self.side == "decoder" and self.skip is not None:
            x = self.skip(x)
        x = torch.add(y, x, alpha=main)
        if self.heads:
            main, branch = pieces.shares(self.attn_balance)
            x = torch.add(self._attend(pieces.pre_norm(x), branch), x, alpha=main)
        return F.hardtanh(x, -_CLAMP, _CLAMP)  # clamp, with a cheaper backward pass

    def _attend(self, x: Tensor, gain: float) -> Tensor:
        assert self.attn_qkv is not None and self.attn_proj is not None  # heads > 0
        n, _, h, w = x.shape
        qkv = self.attn_qkv(x).reshape(n, self.heads, self.per_head, 3, h * w)
        if self.pieces.settings.cosine_attention:
            qkv = rms_unit(qkv, (2,))  # q, k and v of unit RMS
        q, k, v = qkv.permute(3, 0, 1, 4, 2).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.attn_proj(y.transpose(2, 3).reshape(n, -1, h, w), gain=gain)

    def units(self) -> list[Units]:
        group = self.pieces.settings.normalisation == "group"
        rows = (Part("conv0.weight", 0), Part("emb_linear.weight", 0))
        groups = group_count(self.outputs) if group else 0
        found = [Units("hidden", self.hidden, rows, Part("conv1.weight", 1), groups, "hidden_norm.group_of" if group else "")]
        if self.heads:
            made = (Part("attn_qkv.weight", 0, inner=3 * self.per_head),)
            found.append(Units("heads", self.heads, made, Part("attn_proj.weight", 1, inner=self.per_head), attends=True))
        return found
