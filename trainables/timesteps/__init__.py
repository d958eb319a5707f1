"""Timestep policies: one file each, found by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.method import kinds_in, one_of
from trainables.timesteps.policy import TimestepPolicy

KINDS = kinds_in(__name__, TimestepPolicy)

if TYPE_CHECKING:
    AnyTimesteps = TimestepPolicy
else:
    AnyTimesteps = one_of(KINDS)

__all__ = ["KINDS", "AnyTimesteps", "TimestepPolicy"]
