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
    """Weight 1 on the target's loss, times a weight per bucket of log SNR that makes the common gradient shortest.

    Training estimates the latter (`training/beside/ugd.py`).
    """

    kind: Literal["ugd"] = "ugd"
    every: int = Field(100, ge=1, description="optimiser steps between two estimates of the weights")
    decay: float = Field(
        0.9, ge=0, lt=1, description="share of the earlier estimates kept at each new one in their running mean; 0 is the newest alone"
    )
    ridge: float = Field(0.1, gt=0, description="pull towards equal weights, relative to the mean squared gradient norm")

    def log_weight(self, log_snr: Array, target: Target) -> Array:
        """log w before the first estimate: constant on the target."""
        return -target.log_jacobian(log_snr)


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
