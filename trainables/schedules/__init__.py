"""Noise schedules as densities over log SNR; one file per idea, found by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainables.method import build, kinds_in, one_of
from trainables.schedules.schedule import Schedule

KINDS = kinds_in(__name__, Schedule)

if TYPE_CHECKING:
    AnySchedule = Schedule
else:
    AnySchedule = one_of(KINDS)


def make_schedule(name: str, **params: Any) -> Schedule:
    """A schedule by name: `make_schedule("laplace", mu=0, b=0.5)`; a ConfigError says what is allowed."""
    return build(KINDS, "schedule", name, params)


__all__ = ["KINDS", "AnySchedule", "Schedule", "make_schedule"]
