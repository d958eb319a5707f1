"""Power-function EMA: profiles, tracking, stored averages and post-hoc reconstruction (numpy; torch only where weights are)."""

from trainables.ema.classical import decay_to_sigma_rel, half_life_to_sigma_rel, ramp_to_sigma_rel, sigma_rel_to_half_life
from trainables.ema.profile import (
    SIGMA_REL_MAX,
    gamma_to_sigma_rel,
    power_function_beta,
    power_function_correlation,
    sigma_rel_to_gamma,
    walk_correlation,
)
from trainables.ema.reliability import Reliability, reliability
from trainables.ema.solve import solve_posthoc_coefficients

__all__ = [
    "SIGMA_REL_MAX",
    "Reliability",
    "decay_to_sigma_rel",
    "gamma_to_sigma_rel",
    "half_life_to_sigma_rel",
    "power_function_beta",
    "power_function_correlation",
    "ramp_to_sigma_rel",
    "reliability",
    "sigma_rel_to_gamma",
    "sigma_rel_to_half_life",
    "solve_posthoc_coefficients",
    "walk_correlation",
]
