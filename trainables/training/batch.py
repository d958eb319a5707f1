"""One rank's share of a training batch, and its losses."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from trainables.networks.modules.denoiser import Denoiser
from trainables.optimisers.arithmetic import Arithmetic


@dataclass(frozen=True)
class Batch:
    """Everything that the loss of some images is computed from."""

    first: int  # global index of the first image
    clean: Tensor  # [N,C,H,W], unit variance
    noise: Tensor  # [N,C,H,W], standard normal
    labels: Tensor | None  # [N,classes], one-hot
    log_snr: Tensor  # [N]
    weight: Tensor  # [N], on the squared error of the network's target

    def __len__(self) -> int:
        return len(self.clean)

    def weighted(self, weight: Tensor) -> Batch:
        """The same images with other weights [N]."""
        return replace(self, weight=weight)

    def select(self, chosen: Tensor | slice) -> Batch:
        """The images at some places."""
        labels = self.labels[chosen] if self.labels is not None else None
        return Batch(self.first, self.clean[chosen], self.noise[chosen], labels, self.log_snr[chosen], self.weight[chosen])

    def split(self, size: int) -> list[Batch]:
        """Parts of at most `size` images."""
        return [self.select(slice(i, i + size)) for i in range(0, len(self), size)]


def image_losses(model: nn.Module, denoiser: Denoiser, batch: Batch, arithmetic: Arithmetic, head: nn.Module | None = None) -> Tensor:
    """Weighted squared error per image [N], summed over pixels as in EDM2; `model` is the denoiser or its parallel wrapper."""
    noisy, wanted = denoiser.corrupt(batch.clean, batch.noise, batch.log_snr)
    with arithmetic.autocast(noisy.device.type):
        output = model(noisy, batch.log_snr, batch.labels)
    loss = batch.weight * (output.float() - wanted).square().flatten(1).sum(1)
    if head is not None:
        u = head(batch.log_snr)
        loss = loss / u.exp() + u * wanted[0].numel()
    return loss
