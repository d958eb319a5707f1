"""Power-function EMA profiles (Karras et al. 2024, section 3.1 and appendix C), numpy float64.

The average at time t_r gives time t the weight p(t) = (gamma+1) t^gamma / t_r^(gamma+1); its width is stated as
sigma_rel, the profile's standard deviation relative to t_r.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from trainables.errors import ConfigError

SIGMA_REL_MAX = 1.0 / math.sqrt(12.0)  # gamma = 0, the plain average


def sigma_rel_to_gamma(sigma_rel: Any) -> Any:
    """gamma > 0 of sigma_rel in (0, 1/sqrt(12)): the largest real root of a cubic; scalar in, float out."""
    width = np.asarray(sigma_rel, dtype=np.float64)
    if not np.all((width > 0) & (width < SIGMA_REL_MAX)):
        raise ConfigError(
            f"sigma_rel: {sigma_rel} was given: it must lie between 0 and 1/sqrt(12) = {SIGMA_REL_MAX:.6f}, both excluded"
        )
    s = width**-2.0
    gamma = 1.0 / width  # above the root, where the cubic is convex: Newton's steps fall monotonically onto it
    for _ in range(100):
        value = ((gamma + 7.0) * gamma + (16.0 - s)) * gamma + (12.0 - s)
        step = value / ((3.0 * gamma + 14.0) * gamma + (16.0 - s))
        gamma = gamma - step
        if np.all(np.abs(step) <= 1e-15 * (1.0 + gamma)):
            break
    return float(gamma) if gamma.ndim == 0 else gamma


def gamma_to_sigma_rel(gamma: Any) -> Any:
    """sigma_rel of gamma >= 0."""
    g = np.asarray(gamma, dtype=np.float64)
    width = np.sqrt((g + 1.0) / ((g + 2.0) ** 2 * (g + 3.0)))
    return float(width) if width.ndim == 0 else width


def power_function_beta(sigma_rel: Any, t_next: Any, t_delta: Any) -> Any:
    """The share B of the old average over a step of length t_delta that ends at t_next: (1 - t_delta/t_next)^(gamma+1).

    ema = B*ema + (1-B)*theta is then exact for weights that are constant within the step; the first step has B = 0.
    """
    gamma = sigma_rel_to_gamma(sigma_rel)
    beta = (1.0 - np.asarray(t_delta, dtype=np.float64) / np.asarray(t_next, dtype=np.float64)) ** (gamma + 1.0)
    return float(beta) if np.ndim(beta) == 0 else beta


def power_function_correlation(t_a: Any, gamma_a: Any, t_b: Any, gamma_b: Any) -> np.ndarray:
    """<p_a, p_b>, the integral of the product of two profiles that end at t_a and t_b; broadcasts (eq. 126)."""
    t_a, gamma_a, t_b, gamma_b = (np.asarray(v, dtype=np.float64) for v in (t_a, gamma_a, t_b, gamma_b))
    # Only powers of a ratio <= 1 occur: t^gamma alone overflows at t ~ 1e9, gamma ~ 100.
    ratio = np.where(t_a < t_b, t_a / t_b, t_b / t_a) ** np.where(t_a < t_b, gamma_b, gamma_a)
    return (gamma_a + 1) * (gamma_b + 1) * ratio / ((gamma_a + gamma_b + 1) * np.maximum(t_a, t_b))


def walk_correlation(t_a: Any, gamma_a: Any, t_b: Any, gamma_b: Any) -> np.ndarray:
    """Integral of the product of two profiles' survival functions: the expected product of two averages' lags behind
    weights that move as a Brownian path, so that its quadratic form is the expected squared error of a combination."""
    t_a, gamma_a, t_b, gamma_b = (np.asarray(v, dtype=np.float64) for v in (t_a, gamma_a, t_b, gamma_b))
    a, b, shorter = gamma_a + 1.0, gamma_b + 1.0, np.minimum(t_a, t_b)
    share_a, share_b = (shorter / t_a) ** a, (shorter / t_b) ** b
    return shorter * (1.0 - share_a / (a + 1.0) - share_b / (b + 1.0) + share_a * share_b / (a + b + 1.0))
