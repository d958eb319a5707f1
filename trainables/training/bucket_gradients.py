"""Gradients at each noise level: how long they are, how noisy, and how far they pull together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from trainables.networks.modules.denoiser import Denoiser
from trainables.networks.modules.evaluating import evaluating
from trainables.optimisers.arithmetic import Arithmetic
from trainables.training.batch import Batch, image_losses
from trainables.training.ranks import Ranks

BUCKETS = 16
_PARTS, _SMALL = 4, 2**22  # parts of the parameters; a part that is not worth dividing
EDGES = np.linspace(-12.0, 12.0, BUCKETS + 1)  # log SNR; the outermost buckets also take what lies beyond


def bucket_of(log_snr: Tensor) -> Tensor:
    """Bucket 0..15 of each level, by log SNR; int64 on the same device."""
    return torch.bucketize(log_snr, torch.from_numpy(EDGES[1:-1]).to(log_snr), right=True)


def two_halves(places: Tensor) -> tuple[Tensor, Tensor]:
    """The two parts of a bucket's images from whose difference its variance is estimated."""
    return places[::2], places[1::2]


@dataclass(frozen=True)
class BucketGradients:
    """Of the mean loss over a global batch's images in each bucket, for B buckets of two images or more."""

    buckets: np.ndarray  # [B], ascending
    gram: np.ndarray  # [B, B], inner products of the mean gradients
    variance: np.ndarray  # [B], of one image's gradient, summed over parameters; estimated from two halves of the images
    images: np.ndarray  # [B]
    passes: float  # forward and backward passes over each image of the batch, on average

    @property
    def unbiased_gram(self) -> np.ndarray:
        """[B, B], inner products of the expected gradients: a mean over n images is longer by the variance / n."""
        return self.gram - np.diag(self.variance / self.images)


def bucket_gradients(denoiser: Denoiser, batch: Batch, ranks: Ranks, arithmetic: Arithmetic, head: nn.Module | None = None,
                     at_once: int | None = None) -> BucketGradients:
    """Without dropout, so that training's random numbers stay as they are; equal but for rounding for any number of ranks.

    Gradients are computed by parts of the parameters, `at_once` numbers each (by default a quarter of them, or 4 million if that is
    more), of which only inner products are kept: 4.5 times the parameters at most are held, for four times the work in large networks.
    """
    levels = ranks.gather(batch.log_snr)
    bucket, count, first = bucket_of(levels), len(batch), ranks.rank * len(batch)
    places = [torch.nonzero(bucket == b).flatten() for b in range(BUCKETS)]
    found = [b for b in range(BUCKETS) if len(places[b]) >= 2]
    parameters = [p for p in denoiser.parameters() if p.requires_grad]
    at_once = at_once or max(-(-sum(p.numel() for p in parameters) // _PARTS), _SMALL)
    gram, variance = np.zeros((len(found), len(found))), np.zeros(len(found))
    parts = list(_parts(parameters, at_once))
    with evaluating(denoiser):
        for part in parts:
            means: list[Tensor] = []
            for i, b in enumerate(found):
                halves = []
                for half in two_halves(places[b]):
                    mine = half[(half >= first) & (half < first + count)] - first
                    own = _summed_gradient(denoiser, batch.select(mine), part, arithmetic, head)
                    halves.append((ranks.sum(own) / len(half), len(half)))
                (one, n1), (two, n2) = halves
                variance[i] += float((one - two).square().sum()) * n1 * n2 / (n1 + n2)
                means.append(torch.lerp(one, two, n2 / (n1 + n2)))
            gram += _gram(means)
    images = np.array([len(places[b]) for b in found], dtype=np.int64)
    return BucketGradients(np.array(found, dtype=np.int64), gram, variance, images, len(parts) * images.sum() / len(levels))


def _parts(parameters: list[nn.Parameter], at_once: int) -> Iterator[list[nn.Parameter]]:
    """In order, of at most so many numbers, or of one parameter that has more."""
    part: list[nn.Parameter] = []
    for parameter in parameters:
        if part and sum(p.numel() for p in part) + parameter.numel() > at_once:
            yield part
            part = []
        part.append(parameter)
    yield part


def _gram(vectors: list[Tensor]) -> np.ndarray:
    """Inner products [B, B], float64."""
    gram = np.zeros((len(vectors), len(vectors)))
    for i, vector in enumerate(vectors):
        gram[i, : i + 1] = gram[: i + 1, i] = torch.stack([vector @ other for other in vectors[: i + 1]]).cpu().numpy()
    return gram


def _summed_gradient(denoiser: Denoiser, batch: Batch, parameters: list[nn.Parameter], arithmetic: Arithmetic, head: nn.Module | None
                     ) -> Tensor:
    """Of the sum of the images' losses, flat [parameters]; a sum keeps fp16 away from underflow."""
    total = torch.zeros(sum(p.numel() for p in parameters), device=batch.clean.device)
    for part in batch.split(arithmetic.micro_batch or max(len(batch), 1)):
        loss = image_losses(denoiser, denoiser, part, arithmetic, head).total.sum()
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        total += torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, gradients, strict=True)])
    return total
