"""How much a draw counts where the expected loss is to be that of another density than the one that levels are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trainables.schedules import Schedule
from trainables.timesteps.policy import TimeDensity, TimestepPolicy

FEW = 0.1  # effective share of the draws below which a warning is due
_MISSED = 1e-3  # share of the wanted density at levels that are never drawn, above which one is due


@dataclass(frozen=True)
class Importance:
    """wanted/drawn as densities of what is drawn: within a schedule's range, and with the mass beyond it at its ends.

    ValueError where the ratio cannot be known.
    """

    wanted: Schedule
    drawn: Schedule
    policy: TimestepPolicy

    def __post_init__(self) -> None:
        if (self.wanted.log_snr_min, self.wanted.log_snr_max) != (self.drawn.log_snr_min, self.drawn.log_snr_max):
            raise ValueError(
                f"its range of log SNR, {self.wanted.log_snr_min:g} to {self.wanted.log_snr_max:g}, must be that of schedule, "
                f"{self.drawn.log_snr_min:g} to {self.drawn.log_snr_max:g}: levels beyond a range are drawn at its ends"
            )
        _ = self._times

    @cached_property
    def _times(self) -> TimeDensity:
        density = self.policy.density(self.drawn)
        if density is None:
            raise ValueError(
                f"timesteps: {self.policy.model_fields['kind'].default} draws from a density of its own that has no closed form, "
                "so that draws cannot be weighted to another one: leave importance_base out, or use another policy, such as uniform"
            )
        return density

    def __call__(self, log_snr: np.ndarray) -> np.ndarray:
        """The ratio at drawn levels [N], float64."""
        ratio = np.exp(self.wanted.log_prob(log_snr) - self._log_drawn(log_snr))
        for end, wanted, drawn in self._ends:
            ratio = np.where(log_snr == end, wanted / drawn if drawn > 0 else 0.0, ratio)
        return ratio

    @property
    def effective_share(self) -> float:
        """(E r)^2 / E r^2 over draws, in (0, 1]: with it, N corrected draws tell as much as share * N of the wanted density would."""
        first, second = self._moments
        return first**2 / second

    @property
    def missed(self) -> float:
        """Share of the wanted density at levels that are never drawn."""
        return max(0.0, 1.0 - self._moments[0])

    @property
    def warnings(self) -> list[str]:
        found, name = [], self.wanted.name
        if (share := self.effective_share) < FEW:
            found.append(
                f"importance_base: corrections to {name} are so unequal that the effective sample share is {share:.2g} (below {FEW:g}): "
                "few images decide each step; draw from a schedule that reaches as far"
            )
        if self.missed > _MISSED:
            found.append(f"importance_base: {self.missed:.2g} of {name} lies at noise levels that the schedule never draws")
        return found

    @cached_property
    def _moments(self) -> tuple[float, float]:
        """E r and E r^2 over draws, by the trapezoidal rule at the quantiles of both densities."""
        low, high = self.drawn.log_snr_min, self.drawn.log_snr_max
        t = (np.arange(4000) + 0.5) / 4000
        levels = np.unique(np.concatenate([np.linspace(low, high, 4001), self.wanted.from_uniform(t), self.drawn.from_uniform(t)]))
        log_wanted, log_drawn = np.asarray(self.wanted.log_prob(levels)), self._log_drawn(levels)
        held = log_drawn > -np.inf
        log_ratio = np.where(held, log_wanted - np.where(held, log_drawn, 0.0), -np.inf)
        first = float(np.trapezoid(np.where(held, np.exp(log_wanted), 0.0), levels))
        second = float(np.trapezoid(np.exp(log_wanted + log_ratio), levels))
        for _, wanted, drawn in self._ends:
            if drawn > 0:
                first, second = first + wanted, second + wanted**2 / drawn
        return first, second

    @property
    def _ends(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Both ends of the range, with the mass that the wanted density and the draws have there."""
        low, high = self.drawn.log_snr_min, self.drawn.log_snr_max
        before, after = self._times.share(0.0, float(self.drawn.survival(high))), self._times.share(1.0 - float(self.drawn.cdf(low)), 1.0)
        return (low, float(self.wanted.cdf(low)), after), (high, float(self.wanted.survival(high)), before)

    def _log_drawn(self, log_snr: np.ndarray) -> np.ndarray:
        return log_drawn(self.drawn, self._times, log_snr)


def log_drawn(schedule: Schedule, times: TimeDensity, log_snr: np.ndarray) -> np.ndarray:
    """log density of levels [N] that are drawn from a schedule at times of this density."""
    return np.asarray(schedule.log_prob(log_snr)) + np.log(times.at(np.asarray(schedule.survival(log_snr))))
