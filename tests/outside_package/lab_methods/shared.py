"""What several of the methods use."""

from __future__ import annotations

from trainables.log_snr import as_array
from trainables.method import Array


def power_of(log_snr: Array, power: float) -> Array:
    """log of SNR^power."""
    _, x = as_array(log_snr)
    return power * x
