"""Classical averages in terms of power-function ones: which sigma_rel has the same width as a decay or a half-life."""

from __future__ import annotations

import math

from trainables.ema.profile import SIGMA_REL_MAX, gamma_to_sigma_rel
from trainables.errors import ConfigError


def half_life_to_sigma_rel(half_life: float, total: float) -> float:
    """Width of a constant half-life after `total` images, both in images: the standard deviation of an exponential cut off at the start.

    Near half_life / (ln 2 total) while the half-life is short; at most 1/sqrt(12), the plain average.
    """
    if not (half_life > 0 and total > 0):
        raise ConfigError(f"half_life {half_life} and total {total} must be positive")
    k = math.log(2) * total / half_life
    if k < 1e-4:
        return SIGMA_REL_MAX
    rest = math.exp(-k)
    return math.sqrt(max(1 / k**2 - rest / (1 - rest) ** 2, 0.0))


def decay_to_sigma_rel(decay: float, steps: int) -> float:
    """Width of `average = decay * average + (1 - decay) * weights` after so many steps."""
    if not 0 < decay < 1:
        raise ConfigError(f"decay: {decay} must lie between 0 and 1")
    return half_life_to_sigma_rel(math.log(2) / -math.log(decay), steps)


def sigma_rel_to_half_life(sigma_rel: float, total: float) -> float:
    """The half-life in images whose average has this width after `total` images."""
    if not 0 < sigma_rel < SIGMA_REL_MAX:
        raise ConfigError(f"sigma_rel: {sigma_rel} must lie between 0 and {SIGMA_REL_MAX:.6f}")
    from scipy.optimize import brentq  # half a second that nothing else at import needs

    log_k = brentq(lambda x: half_life_to_sigma_rel(math.log(2) / math.exp(x), 1.0) - sigma_rel, math.log(1e-3), math.log(1e9), xtol=1e-14)
    return math.log(2) * total / math.exp(log_k)


def ramp_to_sigma_rel(ratio: float) -> float:
    """Width of an average whose half-life is `ratio` times the images seen so far: a power function with gamma = ln 2 / ratio - 1."""
    if not 0 < ratio < math.log(2):
        raise ConfigError(f"ratio: {ratio} must lie between 0 and ln 2")
    return float(gamma_to_sigma_rel(math.log(2) / ratio - 1.0))
