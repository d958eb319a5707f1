"""Magnitude-preserving building blocks (Karras et al. 2024, "Analyzing and Improving the Training Dynamics of
Diffusion Models"; equation numbers are those of arXiv 2312.02696v2).
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-4  # relative to the RMS


def rms_unit(v: Tensor, dims: tuple[int, ...] | None = None) -> Tensor:
    """v scaled to RMS 1 over `dims` (default: all but the first); the norm is taken in float32 or better."""
    dims = tuple(range(1, v.ndim)) if dims is None else dims
    return v * inverse_rms(sum_of_squares(v, dims), math.prod(v.shape[d] for d in dims)).to(v.dtype)


def sum_of_squares(v: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Over `dims`, which stay as dimensions of size 1, in float32 or better."""
    return v.to(torch.promote_types(v.dtype, torch.float32)).square().sum(dims, keepdim=True)


def inverse_rms(squares: Tensor, count: int) -> Tensor:
    """The reciprocal of the RMS of `count` values with these sums of squares."""
    # sqrt of a sum is several times faster on CPU than vector_norm; the tiny summand keeps the gradient of 0 finite.
    return torch.add(EPS, (squares + 1e-30).sqrt(), alpha=1.0 / math.sqrt(count)).reciprocal()


class _PixelNorm(torch.autograd.Function):
    """rms_unit over the channels with a backward pass of three sweeps over the images instead of autograd's six."""

    @staticmethod
    def forward(ctx: Any, x_NCHW: Tensor) -> Tensor:
        root = math.sqrt(x_NCHW.shape[1])
        norm = torch.linalg.vector_norm(x_NCHW, dim=1, keepdim=True)  # the fastest way for channels-last images
        inverse = (norm / root + EPS).reciprocal_()
        ctx.save_for_backward(x_NCHW, norm, inverse)
        return x_NCHW * inverse

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        x, norm, inverse = ctx.saved_tensors
        along = (gradient * x).sum(1, keepdim=True)
        along *= inverse**2 / (norm.clamp_min(1e-15) * math.sqrt(x.shape[1]))
        return (gradient * inverse).addcmul_(x, along, value=-1.0)


def pixel_norm(x_NCHW: Tensor) -> Tensor:
    """Every pixel's channels scaled to RMS 1 (eq. 30); float32, or rms_unit's own precision in other formats."""
    return _PixelNorm.apply(x_NCHW) if x_NCHW.dtype == torch.float32 else rms_unit(x_NCHW, (1,))


SILU_GAIN = 1.0 / 0.596  # silu(v) * SILU_GAIN has unit magnitude for N(0, 1) input (eq. 81)


def mp_silu(v: Tensor) -> Tensor:
    """silu(v)/0.596."""
    return F.silu(v) * SILU_GAIN


def mp_sum(a: Tensor, b: Tensor, t: float) -> Tensor:
    """lerp(a, b, t) of unit magnitude for uncorrelated unit inputs (eq. 88)."""
    return a.lerp(b, t) / math.hypot(1.0 - t, t)


def mp_cat(a: Tensor, b: Tensor, t: float = 0.5) -> Tensor:
    """Channel concatenation in which b has the share t of the magnitude, whatever the channel counts (eq. 103)."""
    na, nb = a.shape[1], b.shape[1]
    scale = math.sqrt((na + nb) / ((1.0 - t) ** 2 + t**2))
    return torch.cat([a * (scale * (1.0 - t) / math.sqrt(na)), b * (scale * t / math.sqrt(nb))], dim=1)


class MPFourier(nn.Module):
    """sqrt(2) cos(c f + phi) with fixed random frequencies and phases (eq. 75)."""

    freqs: Tensor
    phases: Tensor

    def __init__(self, size: int, scale: float = math.sqrt(2.0)) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("freqs", 2 * math.pi * torch.randn(size))
        self.register_buffer("phases", 2 * math.pi * torch.rand(size))

    def forward(self, c_N: Tensor) -> Tensor:
        y = torch.outer(c_N.float(), self.freqs.float()) + self.phases.float()
        return (y.cos() * self.scale).to(c_N.dtype)


class MPConv(nn.Module):
    """Convolution (kernel > 0) or linear layer (kernel 0) without bias and with normalised weights (eq. 47, 66).

    `norm` "forced" also takes part in `ForcedNorm`; "none" is a plain layer of the same initial scale.

    A layer that has lost inputs goes on as if their weights were there and met zeros: `removed` holds the norm of those weights per
    output, which counts in the RMS and is scaled with it.  No gradient reaches it.  As a parameter it is averaged and stored.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 0, norm: str = "forced", lost_inputs: int = 0) -> None:
        super().__init__()
        self.norm = norm
        taps = max(kernel, 1) ** 2
        self.fan_in = (inputs + lost_inputs) * taps
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *([kernel, kernel] if kernel else [])))
        if norm == "none":
            self.weight.data /= math.sqrt(self.fan_in)
        self.removed: nn.Parameter | None = None
        if norm != "none" and lost_inputs:
            self.removed = nn.Parameter(torch.full((outputs,), math.sqrt(lost_inputs * taps)), requires_grad=False)

    def inverse_rms(self) -> Tensor:
        """The reciprocal of each output's RMS [outputs, 1, ...]."""
        squares = sum_of_squares(self.weight, tuple(range(1, self.weight.ndim)))
        if self.removed is not None:
            squares = squares + self.removed.square().view_as(squares)
        return inverse_rms(squares, self.fan_in)

    def forward(self, x: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        w: Tensor = self.weight
        if self.norm != "none":  # the norm inside the graph projects the gradient onto the tangent plane of the sphere
            w = w * self.inverse_rms().to(w.dtype) / math.sqrt(self.fan_in)
        w = (w * gain).to(x.dtype)
        if w.ndim == 2:
            return x @ w.t()
        return F.conv2d(x, w, padding=w.shape[-1] // 2)
