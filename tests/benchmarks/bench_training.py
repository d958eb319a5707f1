"""Images per second of the training step, against the same network in plain eager PyTorch.

The peer is how the step is usually written: NCHW tensors, forced weight norm inside every forward, norms by vector_norm,
Adam and the two averages as Python loops over the parameters.  Same network, same batch, fp32, same number of threads.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tests.benchmarks.record import Result, interleaved, machine
from trainables.ema.profile import sigma_rel_to_gamma
from trainables.ema.tracker import PowerEma
from trainables.networks.edm2 import Edm2
from trainables.networks.modules import edm2_unet, magnitude
from trainables.networks.modules.denoiser import Denoiser
from trainables.networks.modules.forced_norm import ForcedNorm
from trainables.targets import make_target

CONFIGS = {
    "8x8, 181 k parameters, batch 256": (Edm2(channels=16, mult=(1, 2), blocks=1, attention=(4,), channels_per_head=16), 1, 8, 256),
    "32x32, 1.7 M parameters, batch 64": (Edm2(channels=32, mult=(1, 2, 2), blocks=2, attention=(8,), channels_per_head=32), 3, 32, 64),
}
WIDTHS = (0.05, 0.10)


def run() -> list[Result]:
    torch.set_num_threads(2)
    check_that_both_compute_the_same()
    results = []
    for name, (settings, channels, resolution, batch) in CONFIGS.items():
        data = torch.randn(batch, channels, resolution, resolution), torch.randn(batch), torch.eye(10)[torch.arange(batch) % 10]
        ours, peer = Ours(settings, channels, resolution, data), Peer(settings, channels, resolution, data)
        seconds = interleaved(ours.step, peer.step, rounds=3 + 1500 // batch)
        rates = [batch / s for s in seconds]
        results.append(Result(f"training step, {name}", *rates, "plain eager PyTorch", "images/s", rates[0] / rates[1], machine()))
    return [*results, optimiser_and_averages()]


def optimiser_and_averages() -> Result:
    """The part of the step outside the network: fused Adam and foreach averages against loops over the parameters."""
    settings, channels, resolution, batch = CONFIGS["32x32, 1.7 M parameters, batch 64"]
    data = torch.randn(batch, channels, resolution, resolution), torch.randn(batch), torch.eye(10)[torch.arange(batch) % 10]
    ours, peer = Ours(settings, channels, resolution, data), Peer(settings, channels, resolution, data)
    for trainer in (ours, peer):
        for p in trainer.denoiser.parameters():
            p.grad = torch.randn_like(p)
    seconds = interleaved(ours.update, peer.update, rounds=31)
    return Result("Adam and two averages, 1.7 M parameters", seconds[0] * 1e3, seconds[1] * 1e3, "loops over parameters", "ms",
                  seconds[1] / seconds[0], machine())


def check_that_both_compute_the_same() -> None:
    settings, channels, resolution, _ = CONFIGS["8x8, 181 k parameters, batch 256"]
    data = torch.randn(4, channels, resolution, resolution), torch.randn(4), torch.eye(10)[:4]
    ours, peer = Ours(settings, channels, resolution, data).denoiser, Peer(settings, channels, resolution, data).denoiser
    for net in (ours, peer):
        net.network.out_gain.data.fill_(1.0)
        for name, p in net.named_parameters():
            if name.endswith("emb_gain"):
                p.data.fill_(0.3)
    ForcedNorm(ours)()
    with plain_operations():
        expected = peer(*data)
    torch.testing.assert_close(ours(*data), expected, rtol=1e-4, atol=1e-5)


class Ours:
    def __init__(self, settings: Edm2, channels: int, resolution: int, data: tuple[Tensor, ...]) -> None:
        torch.manual_seed(0)
        self.denoiser = Denoiser(settings.build(channels, resolution, 10), make_target("edm"), 10).to(memory_format=torch.channels_last)
        self.optimiser = torch.optim.Adam(self.denoiser.parameters(), lr=0.01, betas=(0.9, 0.99), fused=True)
        self.ema, self.forced_norm = PowerEma(self.denoiser, WIDTHS), ForcedNorm(self.denoiser)
        self.data, self.images = data, 0

    def step(self) -> None:
        clean, log_snr, labels = self.data
        self.forced_norm()
        noisy, wanted = self.denoiser.corrupt(clean, torch.randn_like(clean), log_snr)
        (self.denoiser(noisy, log_snr, labels) - wanted).square().flatten(1).sum(1).mean().backward()
        self.update()
        self.optimiser.zero_grad(set_to_none=True)

    def update(self) -> None:
        self.optimiser.step()
        self.images += len(self.data[0])
        self.ema.update(self.images, len(self.data[0]))


class Peer:
    def __init__(self, settings: Edm2, channels: int, resolution: int, data: tuple[Tensor, ...]) -> None:
        torch.manual_seed(0)
        self.denoiser = Denoiser(settings.build(channels, resolution, 10), make_target("edm"), 10)
        self.parameters = list(self.denoiser.parameters())
        self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.parameters]
        self.averages = {w: [p.detach().clone() for p in self.parameters] for w in WIDTHS}
        self.data, self.images, self.count = data, 0, 0

    def step(self) -> None:
        clean, log_snr, labels = self.data
        with plain_operations():
            noisy, wanted = self.denoiser.corrupt(clean, torch.randn_like(clean), log_snr)
            (self.denoiser(noisy, log_snr, labels) - wanted).square().flatten(1).sum(1).mean().backward()
        self.update()
        for p in self.parameters:
            p.grad = None

    def update(self) -> None:
        self.count += 1
        batch = len(self.data[0])
        self.images += batch
        with torch.no_grad():
            for p, (first, second) in zip(self.parameters, self.moments, strict=True):
                first.mul_(0.9).add_(p.grad, alpha=0.1)
                second.mul_(0.99).addcmul_(p.grad, p.grad, value=0.01)
                corrected = second.sqrt() / math.sqrt(1 - 0.99**self.count) + 1e-8
                p.addcdiv_(first, corrected, value=-0.01 / (1 - 0.9**self.count))
            for width, average in self.averages.items():
                beta = (1 - batch / self.images) ** (sigma_rel_to_gamma(width) + 1)
                for a, p in zip(average, self.parameters, strict=True):
                    a.copy_(beta * a + (1 - beta) * p)


@contextlib.contextmanager
def plain_operations() -> Iterator[None]:
    """The network's operations as they are usually written."""

    def rms_unit(v: Tensor, dims: tuple[int, ...] | None = None) -> Tensor:
        dims = tuple(range(1, v.ndim)) if dims is None else dims
        norm = torch.linalg.vector_norm(v, dim=dims, keepdim=True, dtype=torch.float32)
        return v / torch.add(1e-4, norm, alpha=math.sqrt(norm.numel() / v.numel()))

    def forward(self: magnitude.MPConv, x: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        with torch.no_grad():
            self.weight.copy_(rms_unit(self.weight))
        w = rms_unit(self.weight) * (gain / math.sqrt(self.weight[0].numel()))
        return x @ w.t() if w.ndim == 2 else nn.functional.conv2d(x, w, padding=w.shape[-1] // 2)

    def silu(x: Tensor) -> Tensor:
        return nn.functional.silu(x) / 0.596

    def add(a: Tensor, b: Tensor, t: float) -> Tensor:
        return a.lerp(b, t) / math.sqrt((1 - t) ** 2 + t**2)

    def block(self: edm2_unet.Block, x: Tensor, embedding: Tensor) -> Tensor:
        if self.resample == "down":
            x = nn.functional.avg_pool2d(x, 2)
        elif self.resample == "up":
            x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
        if self.side == "encoder":
            x = rms_unit(x if self.skip is None else self.skip(x), (1,))
        y = self.conv0(silu(x))
        y = self.conv1(silu(y * (self.emb_linear(embedding, gain=self.emb_gain) + 1)[:, :, None, None]))
        if self.side == "decoder" and self.skip is not None:
            x = self.skip(x)
        x = add(x, y, self.res_balance)
        if self.heads:
            n, c, h, w = x.shape
            q, k, v = rms_unit(self.attn_qkv(x).reshape(n, self.heads, c // self.heads, 3, h * w), (2,)).unbind(3)
            weights = torch.einsum("nhcq,nhck->nhqk", q, k / math.sqrt(q.shape[2])).softmax(3)
            y = self.attn_proj(torch.einsum("nhqk,nhck->nhcq", weights, v).reshape(n, c, h, w))
            x = add(x, y, self.attn_balance)
        return x.clip(-256, 256)

    patched = {(edm2_unet, "rms_unit"): rms_unit, (magnitude.MPConv, "forward"): forward, (edm2_unet.Block, "forward"): block}
    kept = {where: getattr(*where) for where in patched}
    for (owner, name), function in patched.items():
        setattr(owner, name, function)
    try:
        yield
    finally:
        for (owner, name), function in kept.items():
            setattr(owner, name, function)
