"""What happens at each noise level: losses always, gradients and magnitudes every so many images.

The conflict between noise levels (gradient cosines below zero) is where Min-SNR weighting and adaptive sampling start from.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from trainables.log_snr import softplus
from trainables.networks.modules.denoiser import Denoiser
from trainables.networks.modules.evaluating import evaluating
from trainables.networks.modules.magnitude import MPConv
from trainables.training.batch import Batch, image_losses
from trainables.training.bucket_gradients import BUCKETS, EDGES, BucketGradients, bucket_gradients, bucket_of
from trainables.training.ranks import Ranks

if TYPE_CHECKING:
    from trainables.recipe import Recipe


_STEPS = 1000  # between two looks at the device


class Diagnostics:
    """Gathers over the steps between two reports, and changes nothing in training."""

    def __init__(self, recipe: Recipe, denoiser: Denoiser, ranks: Ranks, head: nn.Module | None = None, *, pixels: int = 1) -> None:
        """Errors are sums over `pixels`, and reported as means."""
        self._pixels = pixels
        self._recipe, self._denoiser, self._ranks, self._head = recipe, denoiser, ranks, head
        self._sums = torch.zeros(BUCKETS, 2, dtype=torch.float64)  # loss and images, of this rank
        self._earlier = torch.zeros_like(self._sums)  # of all ranks, before that
        self._steps: list[tuple[Tensor, Tensor]] = []  # what has been observed since and is on the device yet
        self._latest: dict[str, float] = {}

    def observe(self, log_snr: Tensor, error: Tensor) -> None:
        """Take in a step's squared errors [N] of the network's target at log SNR [N]; they stay on the device for a while.

        They count as (SNR + 1) |D - y|^2, the error of EDM's preconditioned output: the same quantity for every weighting and
        target, and 1 where that output is zero.  What is not finite is left out.
        """
        self._steps.append((log_snr, error))
        if len(self._steps) == _STEPS:
            self._add_up()

    def before_step(self, batch: Batch, images: int) -> None:
        """Every `diagnostics_every` images: gradients of the training loss by bucket, magnitudes of weights and activations."""
        if not self._recipe.diagnostics_every or images % self._recipe.diagnostics_every:
            return
        gradients = bucket_gradients(self._denoiser, batch, self._ranks, self._recipe.arithmetic, self._head)
        self._latest = _conflict(gradients) | self._magnitudes(batch)

    def take(self, last: bool) -> dict[str, float]:
        """Numbers of all ranks since the last report, by name; `last` is whether the next report begins anew."""
        self._add_up()
        sums = self._earlier + self._ranks.sum(self._sums.to(self._ranks.device)).cpu()
        self._earlier = torch.zeros_like(sums) if last else sums
        self._sums = torch.zeros_like(sums)
        losses, images = sums.T.numpy()
        means = {f"loss_by_level/log_snr_{_centre(b):.1f}": float(losses[b] / images[b]) for b in np.flatnonzero(images).tolist()}
        return means | self._latest

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold; asked of all ranks at once."""
        self._add_up()
        latest = {f"latest/{name}": torch.tensor(value, dtype=torch.float64) for name, value in self._latest.items()}
        return {"earlier": self._earlier, "sums": self._ranks.gather(self._sums[None].to(self._ranks.device)), **latest}

    def restore(self, state: dict[str, Tensor]) -> None:
        self._steps = []
        self._earlier, self._sums = state["earlier"].to(self._sums), state["sums"][self._ranks.rank].to(self._sums)
        self._latest = {name.removeprefix("latest/"): float(value) for name, value in state.items() if name.startswith("latest/")}

    def _add_up(self) -> None:
        """Step by step, so that sums are the same whenever this is called; waits for the device."""
        if not self._steps:
            return
        levels, errors = torch.stack([torch.cat(column) for column in zip(*self._steps, strict=True)]).cpu()
        levels, errors = levels.double(), (errors / self._pixels).double()
        losses = errors * (self._recipe.target.log_jacobian(levels) + softplus(levels)).exp()
        finite = losses.isfinite()
        columns = torch.stack([torch.where(finite, losses, 0.0), finite.double()], 1)
        places, sizes = nn.functional.one_hot(bucket_of(levels), BUCKETS).double(), [len(error) for _, error in self._steps]
        for place, column in zip(places.split(sizes), columns.split(sizes), strict=True):
            self._sums += place.T @ column
        self._steps = []

    @torch.no_grad()
    def _magnitudes(self, batch: Batch) -> dict[str, float]:
        """Root mean square of each layer's weights, and of its output on this rank's images, without dropout."""
        found: dict[str, float] = {}
        hooks = []
        for name, module in self._denoiser.network.named_modules():
            if isinstance(module, MPConv | nn.Conv2d | nn.Linear):
                found[f"weight_rms/{name}"] = float(module.weight.square().mean().sqrt())

                def keep(_: object, __: object, output: Tensor, name: str = name) -> None:
                    found[f"activation_rms/{name}"] = float(output.float().square().mean().sqrt())

                hooks.append(module.register_forward_hook(keep))
        try:
            with evaluating(self._denoiser):
                image_losses(self._denoiser, self._denoiser, batch, self._recipe.arithmetic)
        finally:
            for hook in hooks:
                hook.remove()
        return found


def _conflict(found: BucketGradients) -> dict[str, float]:
    """Norm of each bucket's gradient and variance of its image gradients, and cosines between neighbouring and all buckets."""
    centres = [f"{_centre(int(b)):.1f}" for b in found.buckets]
    norms = np.sqrt(np.diag(found.gram))
    numbers = {f"grad_norm/log_snr_{c}": float(norm) for c, norm in zip(centres, norms, strict=True)}
    numbers |= {f"grad_variance/log_snr_{c}": float(v) for c, v in zip(centres, found.variance, strict=True)}
    if len(centres) > 1:
        units = np.maximum(norms, 1e-30)
        cosines = found.gram / units / units[:, None]
        between = cosines[np.triu_indices(len(centres), 1)]
        numbers |= {"grad_cosine/mean": float(between.mean()), "grad_cosine/min": float(between.min())}
        neighbours = itertools.pairwise(centres)
        numbers |= {f"grad_cosine/log_snr_{a}_{b}": float(cosines[i, i + 1]) for i, (a, b) in enumerate(neighbours)}
    return numbers


def _centre(bucket: int) -> float:
    return float((EDGES[bucket] + EDGES[bucket + 1]) / 2)
