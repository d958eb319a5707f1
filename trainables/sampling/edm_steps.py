"""EDM's noise levels for sampling (Karras et al. 2022, eq. 5)."""

from __future__ import annotations

import numpy as np

from trainables.errors import ConfigError


def heun_sigma_steps(num_steps: int, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> np.ndarray:
    """Decreasing noise standard deviations [num_steps + 1], float64, from sigma_max to sigma_min and then 0."""
    if num_steps < 1 or not 0 < sigma_min < sigma_max or rho <= 0:
        raise ConfigError(
            f"sampler steps: num_steps={num_steps}, sigma_min={sigma_min}, sigma_max={sigma_max}, rho={rho} were given: "
            "num_steps must be at least 1, 0 < sigma_min < sigma_max, and rho above 0"
        )
    ramp = np.arange(num_steps, dtype=np.float64) / max(num_steps - 1, 1)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return np.append((high + ramp * (low - high)) ** rho, 0.0)
