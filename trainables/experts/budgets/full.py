"""Every group keeps the whole network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from trainables.experts.budgets.budget import Budgets


class Full(Budgets):
    """No pruning: the baseline of groups alone."""

    kind: Literal["full"] = "full"

    def ratios(self, groups: int, losses: Sequence[float] = ()) -> tuple[float, ...]:
        return (1.0,) * groups
