"""A schedule restricted to an interval of log SNR: the density that one expert is trained on."""

from __future__ import annotations

import math

from pydantic import Field, model_validator

from trainables.log_snr import as_array
from trainables.method import Array, Settings
from trainables.schedules.schedule import Schedule

NARROWEST = 1e-3  # in log SNR; networks are told the level in float32
_LEAST_MASS = 1e-290  # below it, shares of the mass have no digits


class Levels(Settings):
    """Noise levels low <= log SNR < high; an end that is not given is open."""

    low: float | None = Field(None, description="smallest log SNR; none is the schedule's own end")
    high: float | None = Field(None, description="log SNR below which the levels lie; none is the schedule's own end")

    @model_validator(mode="after")
    def _is_an_interval(self) -> Levels:
        if self.low is None and self.high is None:
            raise ValueError("give low, high or both; leave levels out to train on all of them")
        if self.low is not None and self.high is not None and not self.high - self.low >= NARROWEST:
            raise ValueError(f"high must be at least {NARROWEST} above low, and {self.low} to {self.high} were given")
        return self

    def __contains__(self, log_snr: float) -> bool:
        return (self.low is None or self.low <= log_snr) and (self.high is None or log_snr < self.high)

    def __str__(self) -> str:
        low, high = (f"{end:.3g}" if end is not None else "" for end in (self.low, self.high))
        return f"log SNR {low} to {high}" if low and high else f"log SNR from {low}" if low else f"log SNR below {high}"


def restricted(schedule: Schedule, levels: Levels | None) -> Schedule:
    """What training draws from `schedule` where it falls into `levels`, as a density of its own; ValueError where nothing does.

    Levels beyond the schedule's range are drawn at its ends: an interval that holds an end holds the tail beyond it, too.
    """
    if levels is None:
        return schedule
    low = None if levels.low is None or levels.low <= schedule.log_snr_min else levels.low
    high = None if levels.high is None or levels.high > schedule.log_snr_max else levels.high
    smallest, largest = schedule.log_snr_min if low is None else low, schedule.log_snr_max if high is None else high
    if largest - smallest < NARROWEST:
        raise ValueError(f"{levels} lies outside the schedule's range, {schedule.log_snr_min:g} to {schedule.log_snr_max:g}")
    made = Restricted(whole=schedule, low=low, high=high, log_snr_min=smallest, log_snr_max=largest)
    if not made.mass > _LEAST_MASS:
        raise ValueError(f"{levels} holds nothing of the density of {schedule.name}")
    return made


class Restricted(Schedule):
    """p(lambda) / mass within [low, high]; made by `restricted`, exact in both tails."""

    whole: Schedule
    low: float | None
    high: float | None

    @property
    def name(self) -> str:
        return self.whole.name

    @property
    def mass(self) -> float:
        """P(low <= lambda < high) under the whole schedule, with its digits in either tail."""
        below, above = self._outside
        if self.high is not None and (reached := float(self.whole.cdf(self.high))) <= 0.5:
            return reached - below
        if self.low is not None and (left := float(self.whole.survival(self.low))) <= 0.5:
            return left - above
        return 1.0 - below - above

    def cdf(self, log_snr: Array) -> Array:
        return self._share(log_snr, upper=False)

    def survival(self, log_snr: Array) -> Array:
        return self._share(log_snr, upper=True)

    def log_prob(self, log_snr: Array) -> Array:
        xp, x = as_array(log_snr)
        inside = (x >= (-math.inf if self.low is None else self.low)) & (x <= (math.inf if self.high is None else self.high))
        return xp.where(inside, self.whole.log_prob(x) - math.log(self.mass), xp.full_like(x, -xp.inf))

    def _quantile(self, lower: Array, upper: Array) -> Array:
        xp, lower = as_array(lower)
        below, above = self._outside
        x = self.whole._quantile(below + lower * self.mass, above + upper * self.mass)
        return xp.clip(x, self.low, self.high) if self.low is not None or self.high is not None else x

    @property
    def _outside(self) -> tuple[float, float]:
        """P(lambda < low) and P(lambda >= high) under the whole schedule."""
        return (
            0.0 if self.low is None else float(self.whole.cdf(self.low)),
            0.0 if self.high is None else float(self.whole.survival(self.high)),
        )

    def _share(self, log_snr: Array, upper: bool) -> Array:
        """Share of the mass above or below a level; each tail from the end on its own side of the whole schedule's median."""
        xp, x = as_array(log_snr)
        x = xp.clip(x, self.low, self.high) if self.low is not None or self.high is not None else x
        below, above = self._outside
        cdf, survival = self.whole.cdf(x), self.whole.survival(x)
        from_low = xp.where(cdf <= 0.5, cdf - below, self.mass - (survival - above))
        from_high = xp.where(cdf <= 0.5, self.mass - (cdf - below), survival - above)
        return xp.clip((from_high if upper else from_low) / self.mass, 0.0, 1.0)
