"""Power-function EMA: profiles, tracking, stored averages and post-hoc reconstruction (numpy; torch only where weights are)."""

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
    "gamma_to_sigma_rel",
    "power_function_beta",
    "power_function_correlation",
    "reliability",
    "sigma_rel_to_gamma",
    "solve_posthoc_coefficients",
    "walk_correlation",
]
