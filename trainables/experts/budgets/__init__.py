"""How much compute each group's network may take; one file each, found by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.experts.budgets.budget import Budgets
from trainables.method import kinds_in, one_of

KINDS = kinds_in(__name__, Budgets)

if TYPE_CHECKING:
    AnyBudgets = Budgets
else:
    AnyBudgets = one_of(KINDS)

__all__ = ["KINDS", "AnyBudgets", "Budgets"]
