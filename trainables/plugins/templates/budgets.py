"""My budget rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from trainables.experts.budgets.budget import Budgets
from trainables.method import searchable


class MyMethod(Budgets):
    """Every group has the same share of the base's multiply-accumulates."""

    kind: Literal["my_method"] = "my_method"
    share: float = searchable(0.6, low=0.3, high=1.0, gt=0, le=1, description="share of the base")

    def ratios(self, groups: int, losses: Sequence[float] = ()) -> tuple[float, ...]:
        """A share in (0, 1] for each group, from noise to data."""
        return (self.share,) * groups
