"""Metrics on generated images: features found by themselves, and the distances between sets of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.method import kinds_in, one_of
from trainables.metrics.features import Features

KINDS = kinds_in(__name__, Features)

if TYPE_CHECKING:
    AnyFeatures = Features
else:
    AnyFeatures = one_of(KINDS)

__all__ = ["KINDS", "AnyFeatures", "Features"]
