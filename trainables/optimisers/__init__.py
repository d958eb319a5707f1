"""Optimisers, one file each, found by themselves; and the arithmetic of their steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.method import kinds_in, one_of
from trainables.optimisers.optimiser import Optimiser

KINDS = kinds_in(__name__, Optimiser)
DEFAULT = "adam"  # of recipes that give an optimiser's fields without a kind

if TYPE_CHECKING:
    AnyOptimiser = Optimiser
else:
    AnyOptimiser = one_of(KINDS, DEFAULT)

__all__ = ["DEFAULT", "KINDS", "AnyOptimiser", "Optimiser"]
