"""Denoising as multi-task learning: weights by noise level from the conflict of their gradients (the "UGD" baseline of
Hang et al. 2023; min-norm combination of Sener & Koltun 2018)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from trainables.method import Array
from trainables.targets.target import Target
from trainables.weightings.weighting import Weighting


class Ugd(Weighting):
    """Weight 1 on the target's loss, times a factor per bucket of log SNR that makes the batches' mean gradient shortest.

    A variant of the paper's UGD, which solves for a weight per timestep: here gradients are averaged over 16 buckets and over time, and
    the factors have a ridge and a mean of 1 over the images. Training estimates them (`training/beside/ugd.py`).
    """

    kind: Literal["ugd"] = "ugd"
    every: int = Field(100, ge=1, description="optimiser steps between two estimates of the weights")
    decay: float = Field(
        0.9, ge=0, lt=1, description="share of the earlier estimates kept at each new one in their running mean; 0 is the newest alone"
    )
    ridge: float = Field(0.1, gt=0, description="pull towards equal factors, relative to the mean squared gradient norm")

    def log_weight(self, log_snr: Array, target: Target) -> Array:
        """log w before the first estimate: constant on the target."""
        return -target.log_jacobian(log_snr)


def min_norm_weights(gram: np.ndarray, ridge: float, shares: np.ndarray | None = None) -> np.ndarray:
    """w >= 0 of sum 1 that makes the common gradient sum w_b g_b shortest, for the Gram matrix G [n, n] of the gradients g_b.

    What counts by `shares` p [n] (all equal if None; of any sum) in a mean gets the factors w/p, of mean 1. `ridge` pulls them towards 1:
    the least is sought of w' G w + ridge s sum w^2/(n p), with s the mean squared norm of the gradients under p.
    G may be an estimate: its negative eigenvalues, in the scale of root p, count as 0.
    """
    from scipy.optimize import nnls

    n = len(gram)
    shares = np.full(n, 1.0 / n) if shares is None else shares / shares.sum()
    # In v = w / root p the penalty is even, so that the matrix is well conditioned for rare buckets, too.
    root_share = np.sqrt(shares)
    values, vectors = np.linalg.eigh(root_share[:, None] * gram * root_share)
    values = np.maximum(values, 0.0)  # an estimate may have negative ones, a Gram matrix has none
    scale = values.sum()
    if not scale > 0:
        return shares
    root = np.sqrt(values / scale + ridge / n)[:, None] * vectors.T  # root' root = the matrix with its ridge
    # Minimising |root v|^2 + M^2 (root_share v - 1)^2 keeps the direction of the constrained solution for any M.
    solution, _ = nnls(np.vstack([root, 10.0 * root_share]), np.append(np.zeros(n), 10.0))
    weights = root_share * solution
    return weights / weights.sum()
