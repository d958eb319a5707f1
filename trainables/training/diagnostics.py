"""What happens at each noise level: losses always, gradients and magnitudes every so many images.

The conflict between noise levels (gradient cosines below zero) is where Min-SNR weighting and adaptive sampling start from.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from trainables.networks.modules.denoiser import Denoiser
from trainables.networks.modules.magnitude import MPConv
from trainables.optimisers.arithmetic import Arithmetic
from trainables.training.batch import Batch, image_losses

if TYPE_CHECKING:
    from trainables.recipe import Recipe

BUCKETS = 16
EDGES = np.linspace(-12.0, 12.0, BUCKETS + 1)  # log SNR; the outermost buckets also take what lies beyond


def bucket_of(log_snr: np.ndarray) -> np.ndarray:
    """Bucket 0..15 of each level, by log SNR."""
    return np.clip(np.searchsorted(EDGES, log_snr, side="right") - 1, 0, BUCKETS - 1)


class Diagnostics:
    """Gathers over the steps between two reports."""

    def __init__(self, recipe: Recipe, denoiser: Denoiser) -> None:
        self._recipe, self._denoiser = recipe, denoiser
        self._every = recipe.diagnostics_every
        self._sums, self._counts = np.zeros(BUCKETS), np.zeros(BUCKETS)
        self._latest: dict[str, float] = {}

    @property
    def wanted(self) -> bool:
        return self._every > 0

    def observe(self, log_snr: np.ndarray, losses: np.ndarray) -> None:
        """Take in the loss per pixel of a step's images."""
        buckets = bucket_of(log_snr)
        self._sums += np.bincount(buckets, losses, BUCKETS)
        self._counts += np.bincount(buckets, minlength=BUCKETS)

    def before_step(self, batch: Batch, images: int) -> None:
        """Every `diagnostics_every` images: gradients by bucket on this rank's images, magnitudes of weights and activations."""
        if not self.wanted or images % self._every:
            return
        gradients = bucket_gradients(self._denoiser, batch, self._recipe.arithmetic)
        self._latest = _conflict(gradients) | self._magnitudes(batch)

    def take(self) -> dict[str, float]:
        """Numbers since the last report, by name."""
        seen = self._counts > 0
        means = {f"loss_by_level/log_snr_{_centre(b):.1f}": float(self._sums[b] / self._counts[b]) for b in np.flatnonzero(seen).tolist()}
        self._sums, self._counts = np.zeros(BUCKETS), np.zeros(BUCKETS)
        return means | self._latest

    @torch.no_grad()
    def _magnitudes(self, batch: Batch) -> dict[str, float]:
        """Root mean square of each layer's weights, and of its output on this batch."""
        found: dict[str, float] = {}
        hooks = []
        for name, module in self._denoiser.network.named_modules():
            if isinstance(module, MPConv | torch.nn.Conv2d | torch.nn.Linear):
                found[f"weight_rms/{name}"] = float(module.weight.square().mean().sqrt())

                def keep(_: object, __: object, output: Tensor, name: str = name) -> None:
                    found[f"activation_rms/{name}"] = float(output.float().square().mean().sqrt())

                hooks.append(module.register_forward_hook(keep))
        try:
            image_losses(self._denoiser, self._denoiser, batch, self._recipe.arithmetic)
        finally:
            for hook in hooks:
                hook.remove()
        return found


def bucket_gradients(denoiser: Denoiser, batch: Batch, arithmetic: Arithmetic, limit: int = 32) -> dict[int, Tensor]:
    """Per bucket: gradients [2, parameters] of the mean loss over two halves of at most `limit` of its images."""
    buckets = torch.from_numpy(bucket_of(batch.log_snr.double().cpu().numpy()))
    parameters = [p for p in denoiser.parameters() if p.requires_grad]
    found = {}
    for bucket in buckets.unique().tolist():
        chosen = torch.nonzero(buckets == bucket).flatten()[:limit].to(batch.clean.device)
        if len(chosen) < 2:
            continue
        halves = []
        for part in chosen.chunk(2):
            loss = image_losses(denoiser, denoiser, batch.select(part), arithmetic).total.mean()
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            flat = [(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, gradients, strict=True)]
            halves.append(torch.cat(flat))
        found[bucket] = torch.stack(halves)
    return found


def _conflict(gradients: dict[int, Tensor]) -> dict[str, float]:
    """Norm and variance of each bucket's gradient, and cosines between neighbouring and all buckets."""
    means = {b: g.mean(0) for b, g in gradients.items()}
    numbers = {f"grad_norm/log_snr_{_centre(b):.1f}": float(m.norm()) for b, m in means.items()}
    numbers |= {f"grad_variance/log_snr_{_centre(b):.1f}": float(g.var(0).sum()) for b, g in gradients.items()}
    if len(means) > 1:
        units = torch.stack([m / m.norm().clamp_min(1e-30) for m in means.values()])
        cosines = units @ units.T
        above = torch.triu(torch.ones_like(cosines, dtype=torch.bool), 1)
        numbers |= {"grad_cosine/mean": float(cosines[above].mean()), "grad_cosine/min": float(cosines[above].min())}
        order = list(means)
        numbers |= {
            f"grad_cosine/log_snr_{_centre(a):.1f}_{_centre(b):.1f}": float(cosines[i, i + 1])
            for i, (a, b) in enumerate(itertools.pairwise(order))
        }
    return numbers


def _centre(bucket: int) -> float:
    return float((EDGES[bucket] + EDGES[bucket + 1]) / 2)

