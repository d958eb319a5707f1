"""Reconstructed averages in memory, and any width between them.

Averages that end at one time differ smoothly with their width: those at Chebyshev nodes in ln(gamma + 1) span all
others between them, so that one pass over the stored averages serves any number of later wishes.
"""

from __future__ import annotations

import numpy as np

from trainables.ema.profile import gamma_to_sigma_rel, sigma_rel_to_gamma
from trainables.ema.reconstruct import ROUNDING, Plan
from trainables.ema.reliability import Reliability, reliability
from trainables.ema.solve import solve_posthoc_coefficients
from trainables.errors import ConfigError


def node_widths(low: float, high: float, count: int) -> tuple[float, ...]:
    """Chebyshev-Lobatto nodes between two widths, both included, from narrow to wide."""
    a, b = (np.log(sigma_rel_to_gamma(width) + 1.0) for width in (high, low))
    places = (a + b) / 2 + (b - a) / 2 * np.cos(np.pi * np.arange(count) / (count - 1))
    inner = gamma_to_sigma_rel(np.exp(places) - 1.0)[1:-1]
    return (low, *(float(width) for width in inner), high)


class Averages:
    """The targets of a plan, and the widths between them at each time."""

    def __init__(self, made_by: Plan, vectors: np.ndarray) -> None:
        """`vectors` [K, parameters] are the plan's targets."""
        self.plan, self._vectors = made_by, vectors

    def at(self, sigma_rel: float, images: int) -> tuple[np.ndarray, Reliability]:
        """The average of a width [parameters], and the error of everything between it and training."""
        targets = self.plan.targets
        rows = [k for k, t in enumerate(targets) if t.images == images]
        for k in rows:
            if targets[k].sigma_rel == sigma_rel:
                return self._vectors[k], self.plan.reliability[k]
        widths = [targets[k].sigma_rel for k in rows]
        if not rows or not min(widths) <= sigma_rel <= max(widths):
            known = f"{min(widths)} to {max(widths)}" if rows else "none"
            raise ConfigError(f"sigma_rel {sigma_rel} at {images} images is outside what was reconstructed ({known})")
        y = solve_posthoc_coefficients([images] * len(rows), widths, images, sigma_rel, "robust")[:, 0]
        stored = self.plan.snapshots
        trust = reliability(
            [s.images for s in stored], [s.sigma_rel for s in stored], images, sigma_rel, self.plan.coefficients[:, rows] @ y,
            ROUNDING[stored[0].file.dtype],
        )
        return y.astype(np.float32) @ self._vectors[rows], trust
