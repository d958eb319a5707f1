"""Whether a sampler asks the network for noise levels that training never drew."""

from __future__ import annotations

import numpy as np

from trainables.log_snr import from_edm_sigma, to_edm_sigma
from trainables.schedules import Schedule

# Of the levels that training draws, the share beyond which a level counts as untrained.  Published samplers go where training seldom is:
# beyond sigma = 80 lie 2e-6 of EDM's density, and below sigma = 0.002 lie 3e-9 of EDM2's.
_NEVER = 1e-9
_NEAR = 0.1  # difference in log SNR, 5 % in sigma, over which networks are smooth


def beyond_training(sigmas: np.ndarray, drawn: Schedule) -> list[str]:
    """A sentence for each end of a sampler's noise levels [n] that lies outside what training draws from this density."""
    levels = from_edm_sigma(sigmas)
    low, high = (float(drawn.clamp(drawn.icdf(share))) for share in (_NEVER, 1 - _NEVER))
    trained = f"training draws {to_edm_sigma(high):.3g} to {to_edm_sigma(low):.3g} (all but 1 level in a billion beyond each end)"
    found = []
    if min(levels) < low - _NEAR:
        found.append(f"evaluation.sampler: begins at sigma = {max(sigmas):.4g}, where the network was never trained: {trained}")
    if max(levels) > high + _NEAR:
        found.append(f"evaluation.sampler: goes down to sigma = {min(sigmas):.4g}, where the network was never trained: {trained}")
    return found
