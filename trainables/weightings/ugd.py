"""Denoising as multi-task learning: weights by noise level from the conflict of their gradients (the "UGD" baseline of
Hang et al. 2023; min-norm combination of Sener & Koltun 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from trainables.method import Array
from trainables.targets.target import Target
from trainables.weightings.weighting import LearnedWeights, Weighting

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.recipe import Recipe
    from trainables.timesteps.policy import Step


class Ugd(Weighting):
    """Weight 1 on the target's loss, times a weight per bucket of log SNR that makes the common gradient shortest."""

    kind: Literal["ugd"] = "ugd"
    every: int = Field(100, ge=1, description="optimiser steps between two estimates of the weights")
    ridge: float = Field(0.1, gt=0, description="pull towards equal weights, relative to the mean squared gradient norm")

    def log_weight(self, log_snr: Array, target: Target) -> Array:
        """log w before the first estimate: constant on the target."""
        return -target.log_jacobian(log_snr)

    def learned(self) -> LearnedWeights:
        return _BucketWeights(self)


class _BucketWeights(LearnedWeights):
    def __init__(self, settings: Ugd) -> None:
        from trainables.training.diagnostics import BUCKETS

        self._settings = settings
        self.weights = np.ones(BUCKETS)  # mean 1 over the buckets that have been seen

    def factor(self, log_snr: np.ndarray) -> np.ndarray:
        from trainables.training.diagnostics import bucket_of

        return self.weights[bucket_of(log_snr)]

    def before_step(self, recipe: Recipe, step: Step, log_snr: Tensor, noise: Tensor) -> None:
        if step.index % self._settings.every:
            return
        import torch

        from trainables.training.batch import Batch
        from trainables.training.diagnostics import BUCKETS, bucket_gradients

        batch = Batch(step.first, step.clean, noise, step.labels, log_snr, torch.ones_like(log_snr))
        gram, seen = torch.zeros(BUCKETS, BUCKETS), torch.zeros(BUCKETS)
        gradients = {b: g.mean(0) for b, g in bucket_gradients(step.denoiser, batch, recipe).items()}
        for a, ga in gradients.items():
            seen[a] = 1
            for b, gb in gradients.items():
                gram[a, b] = float(ga @ gb)
        # Ranks average their Gram matrices (a few numbers) rather than their gradients.
        device = log_snr.device
        grams = step.gather(gram[None].to(device)).sum(0).cpu().double().numpy()
        both = step.gather((seen[:, None] * seen[None])[None].to(device)).sum(0).cpu().double().numpy()
        known = np.flatnonzero(np.diag(both))
        if len(known) > 1:
            mean = np.divide(grams, both, out=np.zeros_like(grams), where=both > 0)[np.ix_(known, known)]
            self.weights = np.ones(BUCKETS)
            self.weights[known] = len(known) * min_norm_weights(mean, self._settings.ridge)

    def state(self) -> dict[str, Tensor]:
        import torch

        return {"weights": torch.from_numpy(self.weights.copy())}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.weights = state["weights"].numpy().copy()


def min_norm_weights(gram: np.ndarray, ridge: float) -> np.ndarray:
    """w >= 0 of sum 1 that minimises w' (G + ridge tr(G)/n I) w, for the Gram matrix G [n, n] of the gradients."""
    from scipy.optimize import nnls

    n = len(gram)
    scale = np.trace(gram) / n
    if not scale > 0:
        return np.full(n, 1.0 / n)
    values, vectors = np.linalg.eigh(gram / scale + ridge * np.eye(n))
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T  # root' root = the matrix
    # Minimising |root w|^2 + M^2 (sum w - 1)^2 keeps the direction of the constrained solution for any M.
    solution, _ = nnls(np.vstack([root, np.full((1, n), 10.0)]), np.append(np.zeros(n), 10.0))
    return solution / solution.sum()
