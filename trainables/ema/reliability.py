"""How far a reconstructed average can be trusted, known before any weight is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainables.ema.profile import power_function_correlation, sigma_rel_to_gamma, walk_correlation

LARGEST_DRIFT_ERROR, LARGEST_STORAGE_ERROR = 0.02, 2e-3  # beyond these a warning is due


@dataclass(frozen=True)
class Reliability:
    """Predicted errors of a combination of stored averages."""

    profile_error: float  # relative L2 distance between the wanted profile and the combination's
    drift_error: float  # expected error for weights that drift as a Brownian path, relative to the wanted average's own lag behind them
    coefficient_norm: float  # L2 norm of the coefficients: storage rounding is amplified by this
    storage_error: float  # expected relative L2 error of the weights from the rounding of stored values

    @property
    def advice(self) -> str:
        """What is wrong and what helps; empty where the combination can be trusted."""
        if self.drift_error > LARGEST_DRIFT_ERROR:
            return (
                f"the stored averages miss this width by {self.drift_error:.2g} of its lag behind the weights: store them more often "
                "(ema.snapshot_every), or track a width nearer to it (ema.sigma_rels)"
            )
        if self.storage_error > LARGEST_STORAGE_ERROR:
            return (
                f"rounding of the stored values makes a weight error of {self.storage_error:.2g}: use ema.snapshot_format: fp32, "
                "solver robust, or track a width nearer to it (ema.sigma_rels)"
            )
        return ""


def reliability(in_t: Any, in_sigma_rel: Any, out_t: float, out_sigma_rel: float, x: np.ndarray, rounding: float = 0.0) -> Reliability:
    """Errors of the combination with coefficients x [n_in]; `rounding` is the relative error of one stored value."""
    used = np.flatnonzero(x)
    t = np.asarray(in_t, dtype=np.float64)[used] / out_t
    g = np.asarray(sigma_rel_to_gamma(np.asarray(in_sigma_rel, dtype=np.float64)[used]))
    g_out, x = sigma_rel_to_gamma(out_sigma_rel), x[used]
    norm = float(np.linalg.norm(x))
    profile, drift = (_relative_error(inner, t, g, g_out, x) for inner in (power_function_correlation, walk_correlation))
    return Reliability(profile, drift, norm, norm * rounding)


def _relative_error(inner: Callable[..., np.ndarray], t: np.ndarray, g: np.ndarray, g_out: float, x: np.ndarray) -> float:
    """Length of the difference between the combination and the wanted profile in an inner product, relative to the wanted one's."""
    own = float(inner(1.0, g_out, 1.0, g_out))
    squared = x @ inner(t[:, None], g[:, None], t[None], g[None]) @ x - 2.0 * x @ inner(t, g, 1.0, g_out) + own
    return float(np.sqrt(max(float(squared), 0.0) / own))
