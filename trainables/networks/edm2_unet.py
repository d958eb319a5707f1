"""The EDM2 U-Net (Karras et al. 2024, section 2 and appendix B, config G)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.networks.edm2 import Edm2
from trainables.networks.magnitude import MPConv, MPFourier, mp_cat, mp_silu, mp_sum, rms_unit

_CLAMP = 256.0  # activations beyond this are cut, so that half precision never overflows


class Edm2UNet(nn.Module):
    """F(z; c_noise, labels): encoder and decoder of residual blocks with skip connections, out_gain starts at 0."""

    def __init__(self, settings: Edm2, channels: int, resolution: int, classes: int) -> None:
        super().__init__()
        widths = [settings.channels * m for m in settings.mult]
        embedding = max(widths)
        self.label_balance, self.concat_balance = settings.label_balance, settings.concat_balance
        self.fourier = MPFourier(widths[0])
        self.embed_noise = MPConv(widths[0], embedding)
        self.embed_label = MPConv(classes, embedding) if classes else None
        self.out_gain = nn.Parameter(torch.zeros([]))

        def block(inputs: int, outputs: int, at: int, *, flavour: Literal["enc", "dec"],
                  resample: Literal["keep", "up", "down"] = "keep", attention: bool | None = None) -> Block:
            wanted = at in settings.attention and resample == "keep" if attention is None else attention
            return Block(inputs, outputs, embedding, flavour, resample, wanted, settings)

        width, skips = widths[0], [widths[0]]
        self.encoder = nn.ModuleDict({f"{resolution}_conv": MPConv(channels + 1, width, 3)})
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
        self.out_conv = MPConv(width, channels, 3)

    def forward(self, z_NCHW: Tensor, c_noise_N: Tensor, labels_NK: Tensor | None = None) -> Tensor:
        embedding = self.embed_noise(self.fourier(c_noise_N).to(z_NCHW.dtype))
        if self.embed_label is not None:
            if labels_NK is None:
                labels_NK = z_NCHW.new_zeros(1, self.embed_label.weight.shape[1])
            label = self.embed_label(labels_NK.to(z_NCHW.dtype) * labels_NK.shape[1] ** 0.5)
            embedding = mp_sum(embedding, label.expand_as(embedding), self.label_balance)
        embedding = mp_silu(embedding)

        x = torch.cat([z_NCHW, torch.ones_like(z_NCHW[:, :1])], dim=1)  # the constant channel stands for biases
        skips = []
        for block in self.encoder.values():
            x = block(x) if isinstance(block, MPConv) else block(x, embedding)
            skips.append(x)
        for name, block in self.decoder.items():
            if "block" in name:
                x = mp_cat(x, skips.pop(), self.concat_balance)
            x = block(x, embedding)
        return self.out_conv(x, gain=self.out_gain)


class Block(nn.Module):
    """A residual block: pixel norm first in the encoder, 1x1 convolution where the width changes, optional attention."""

    def __init__(self, inputs: int, outputs: int, embedding: int, flavour: str, resample: str, attention: bool,
                 settings: Edm2) -> None:
        super().__init__()
        self.flavour, self.resample = flavour, resample
        self.dropout, self.res_balance, self.attn_balance = settings.dropout, settings.res_balance, settings.attn_balance
        self.heads = max(outputs // settings.channels_per_head, 1) if attention else 0
        self.emb_gain = nn.Parameter(torch.zeros([]))
        self.conv0 = MPConv(outputs if flavour == "enc" else inputs, outputs, 3)
        self.emb_linear = MPConv(embedding, outputs)
        self.conv1 = MPConv(outputs, outputs, 3)
        self.skip = MPConv(inputs, outputs, 1) if inputs != outputs else None
        self.attn_qkv = MPConv(outputs, 3 * outputs, 1) if attention else None
        self.attn_proj = MPConv(outputs, outputs, 1) if attention else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        if self.resample == "down":
            x = F.avg_pool2d(x, 2)
        elif self.resample == "up":
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        if self.flavour == "enc":
            if self.skip is not None:
                x = self.skip(x)
            x = rms_unit(x, (1,))

        y = self.conv0(mp_silu(x))
        scale = self.emb_linear(embedding, gain=self.emb_gain) + 1.0
        y = mp_silu(y * scale[:, :, None, None].to(y.dtype))
        if self.dropout:
            y = F.dropout(y, self.dropout, training=self.training)
        y = self.conv1(y)

        if self.flavour == "dec" and self.skip is not None:
            x = self.skip(x)
        x = mp_sum(x, y, self.res_balance)
        if self.heads:
            x = mp_sum(x, self._attend(x), self.attn_balance)
        return x.clamp(-_CLAMP, _CLAMP)

    def _attend(self, x: Tensor) -> Tensor:
        assert self.attn_qkv is not None and self.attn_proj is not None  # heads > 0
        n, c, h, w = x.shape
        qkv = self.attn_qkv(x).reshape(n, self.heads, c // self.heads, 3, h * w)
        q, k, v = rms_unit(qkv, (2,)).permute(3, 0, 1, 4, 2).unbind(0)  # cosine attention: q, k and v of unit RMS
        y = F.scaled_dot_product_attention(q, k, v)
        return self.attn_proj(y.transpose(2, 3).reshape(n, c, h, w))
