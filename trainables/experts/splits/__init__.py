"""Ways to split the noise levels into groups; one file each, found by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.experts.splits.split import Split
from trainables.method import kinds_in, one_of

KINDS = kinds_in(__name__, Split)

if TYPE_CHECKING:
    AnySplit = Split
else:
    AnySplit = one_of(KINDS)

__all__ = ["KINDS", "AnySplit", "Split"]
