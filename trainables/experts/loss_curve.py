"""A denoiser's held-out loss along the axis of log SNR."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LossCurve:
    """Mean squared error of the clean image per value, times SNR + 1 (EDM's weight: about 1 where nothing is known), by level."""

    log_snr: np.ndarray  # [L] rising
    loss: np.ndarray  # [L], above 0; linear between the levels, constant beyond them

    def integral(self, low: float, high: float) -> float:
        """Of the loss over an interval of log SNR."""
        return float(self._cumulative(low, np.array([high]))[0])

    def mean(self, low: float, high: float) -> float:
        """Of the loss over an interval of log SNR."""
        return self.integral(low, high) / (high - low)

    def quantiles(self, shares: np.ndarray, low: float, high: float) -> np.ndarray:
        """Levels below which these shares in (0, 1) of the integral from `low` to `high` lie."""
        x = np.unique(np.concatenate([np.linspace(low, high, 2048), self.log_snr[(self.log_snr > low) & (self.log_snr < high)]]))
        sums = self._cumulative(low, x)
        return np.interp(shares, sums / sums[-1], x)

    def _cumulative(self, low: float, x: np.ndarray) -> np.ndarray:
        """Integrals from `low` to each of x: exact, by trapezia between the knots."""
        knots = np.unique(np.concatenate([[low], self.log_snr, x]))
        values = np.interp(knots, self.log_snr, self.loss)
        sums = np.concatenate([[0.0], np.cumsum(np.diff(knots) * (values[1:] + values[:-1]) / 2)])
        return np.interp(x, knots, sums) - np.interp(low, knots, sums)
