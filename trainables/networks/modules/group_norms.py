"""Group norms over all channels of a layer, and over what is left of them: a group then counts its removed channels as zeros."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.networks.modules.magnitude import inverse_rms, rms_unit, sum_of_squares

_EPS = 1e-5


def group_count(channels: int) -> int:
    """Groups of at least 4 channels, at most 32 groups."""
    groups = min(32, max(channels // 4, 1))
    while channels % groups:
        groups -= 1
    return groups


def group_rms(x_NCHW: Tensor) -> Tensor:
    """Every group of channels scaled to RMS 1."""
    n, c = x_NCHW.shape[:2]
    return rms_unit(x_NCHW.reshape(n, group_count(c), -1), (2,)).reshape(x_NCHW.shape)


def group_norm(channels: int, kept: int | None = None) -> nn.Module:
    """Group norm with an affine map, over `kept` of the channels (default: all)."""
    if kept is None or kept == channels:
        return nn.GroupNorm(group_count(channels), channels, eps=_EPS)
    return PartialGroupNorm(channels, kept)


class _PartialGroups(nn.Module):
    """`group_of` [kept] is each channel's group among all channels; pruning sets it, here channels are spread evenly."""

    group_of: Tensor

    def __init__(self, channels: int, kept: int) -> None:
        super().__init__()
        self.groups = group_count(channels)
        self.size = channels // self.groups
        self.register_buffer("group_of", torch.arange(kept) * self.groups // kept)

    def by_group(self, values_NC11: Tensor) -> Tensor:
        """Sums over the channels of each group [N, groups]."""
        values = values_NC11.flatten(1)
        return values.new_zeros(len(values), self.groups).index_add(1, self.group_of, values)

    def by_channel(self, values_NG: Tensor) -> Tensor:
        """Each channel's group's value [N, kept, 1, 1]."""
        return values_NG[:, self.group_of, None, None]


class PartialGroupRms(_PartialGroups):
    """`group_rms` of the channels that are left."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        squares = self.by_group(sum_of_squares(x_NCHW, (2, 3)))
        count = self.size * x_NCHW[0, 0].numel()
        return x_NCHW * self.by_channel(inverse_rms(squares, count)).to(x_NCHW.dtype)


class PartialGroupNorm(_PartialGroups):
    """`torch.nn.GroupNorm` of the channels that are left."""

    def __init__(self, channels: int, kept: int) -> None:
        super().__init__(channels, kept)
        self.weight, self.bias = nn.Parameter(torch.ones(kept)), nn.Parameter(torch.zeros(kept))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x, pixels = x_NCHW.to(torch.promote_types(x_NCHW.dtype, torch.float32)), x_NCHW[0, 0].numel()
        mean = self.by_group(x.sum((2, 3), keepdim=True)) / (self.size * pixels)
        centred = x - self.by_channel(mean)
        there = self.by_group(torch.ones_like(x[:1, :, :1, :1]))  # channels of each group that are left
        variance = self.by_group(centred.square().sum((2, 3), keepdim=True)) / (self.size * pixels)
        variance = variance + mean.square() * (1.0 - there / self.size)  # the others are zeros, at this distance from the mean
        y = centred * self.by_channel((variance + _EPS).rsqrt())
        return (y * self.weight[:, None, None] + self.bias[:, None, None]).to(x_NCHW.dtype)
