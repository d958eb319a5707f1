"""A ratio for each group, from a search or by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from trainables.experts.budgets.budget import Budgets
from trainables.method import searchable


def _ratio(number: int) -> Any:
    return searchable(1.0, low=0.35, high=1.0, gt=0, le=1, description=f"share of the base's multiply-accumulates for group {number}")


class Ratios(Budgets):
    """Group i takes ratio_i; with `monotone` the same ratios are put in order. The first `groups` numbers count."""

    kind: Literal["ratios"] = "ratios"
    ratio_1: float = _ratio(1)
    ratio_2: float = _ratio(2)
    ratio_3: float = _ratio(3)
    ratio_4: float = _ratio(4)
    ratio_5: float = _ratio(5)
    ratio_6: float = _ratio(6)
    ratio_7: float = _ratio(7)
    ratio_8: float = _ratio(8)
    monotone: Literal["no", "rising", "falling"] = Field("no", description="put the ratios in order from noise to data")

    def ratios(self, groups: int, losses: Sequence[float] = ()) -> tuple[float, ...]:
        found = [float(getattr(self, f"ratio_{i}")) for i in range(1, groups + 1)]
        return tuple(found if self.monotone == "no" else sorted(found, reverse=self.monotone == "falling"))
