"""One rank's share of a training batch, and its losses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from trainables.networks.modules.denoiser import Denoiser
from trainables.optimisers.arithmetic import Arithmetic


@dataclass(frozen=True)
class Batch:
    """Everything that the loss of some images is computed from."""

    first: int  # global index of the first image
    clean: Tensor  # [N,C,H,W], unit variance
    noise: Tensor  # [N,C,H,W], standard normal
    labels: Tensor | None  # [N, classes + augment labels]: one-hot, then what the augmentation states
    log_snr: Tensor  # [N]
    weight: Tensor  # [N], on the squared error of the network's target
    correction: Tensor  # [N], on the whole loss: how much an image counts in the mean, whatever its loss consists of

    def __len__(self) -> int:
        return len(self.clean)

    def corrected(self, factor: Tensor) -> Batch:
        """The same images, counting by a further factor [N]."""
        return replace(self, correction=self.correction * factor)

    def unweighted(self) -> Batch:
        """The same images with weight and correction 1."""
        ones = torch.ones_like(self.weight)
        return replace(self, weight=ones, correction=ones)

    def select(self, chosen: Tensor | slice) -> Batch:
        """The images at some places."""
        labels = self.labels[chosen] if self.labels is not None else None
        return Batch(
            self.first, self.clean[chosen], self.noise[chosen], labels, self.log_snr[chosen], self.weight[chosen], self.correction[chosen]
        )

    def split(self, size: int) -> list[Batch]:
        """Parts of at most `size` images."""
        if 0 < len(self) <= size:
            return [self]
        return [self.select(slice(i, i + size)) for i in range(0, len(self), size)]


@dataclass(frozen=True)
class Losses:
    """Of some images, float32 [N] each; sums over pixels, as in EDM2."""

    total: Tensor  # correction * (weight * error / e^u + u * pixels), u = 0 without learned uncertainty: what training lowers the mean of
    fit: Tensor  # correction * weight * error / e^u, without gradient
    error: Tensor  # squared error of the network's target, without gradient

    @staticmethod
    def join(parts: list[Losses]) -> Losses:
        """Those of several parts of a batch, without gradient."""
        if len(parts) == 1:
            return replace(parts[0], total=parts[0].total.detach())
        return Losses(
            torch.cat([p.total.detach() for p in parts]), torch.cat([p.fit for p in parts]), torch.cat([p.error for p in parts])
        )


def image_losses(model: nn.Module, denoiser: Denoiser, batch: Batch, arithmetic: Arithmetic, head: nn.Module | None = None) -> Losses:
    """The losses of each image; `model` is the denoiser or its parallel wrapper, `head` the learned uncertainty u(log SNR)."""
    noisy, wanted = denoiser.corrupt(batch.clean, batch.noise, batch.log_snr)
    with arithmetic.autocast(noisy.device.type):
        output = model(noisy, batch.log_snr, batch.labels)
    error = (output.float() - wanted).square().flatten(1).sum(1)
    fit = batch.weight * error
    if head is None:
        total = batch.correction * fit
        return Losses(total, total.detach(), error.detach())
    u = head(batch.log_snr)
    fit = fit / u.exp()
    return Losses(batch.correction * (fit + u * wanted[0].numel()), (batch.correction * fit).detach(), error.detach())
