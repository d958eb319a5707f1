"""Data sets: one source per file, found by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.data.images import DataSource, ImageData
from trainables.method import kinds_in, one_of

KINDS = kinds_in(__name__, DataSource)

if TYPE_CHECKING:
    AnyData = DataSource
else:
    AnyData = one_of(KINDS)

__all__ = ["KINDS", "AnyData", "DataSource", "ImageData"]
