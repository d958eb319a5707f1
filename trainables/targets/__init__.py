"""Prediction targets; one file per target, found by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.method import build, kinds_in, one_of
from trainables.targets.target import Target

KINDS = kinds_in(__name__, Target)

if TYPE_CHECKING:
    AnyTarget = Target
else:
    AnyTarget = one_of(KINDS)


def make_target(name: str) -> Target:
    """A target by name (eps, x0, v, edm, flow); a ConfigError says what is allowed."""
    return build(KINDS, "target", name, {})


__all__ = ["KINDS", "AnyTarget", "Target", "make_target"]
