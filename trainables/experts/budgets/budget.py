"""What a budget rule is: a share of the base's multiply-accumulates for each group."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from trainables.method import Method

MOST_GROUPS = 8


class Budgets(Method, abc.ABC):
    """Groups are numbered from noise to data."""

    @property
    def needs_loss(self) -> bool:
        """Whether the base's loss decides the ratios."""
        return False

    @abc.abstractmethod
    def ratios(self, groups: int, losses: Sequence[float] = ()) -> tuple[float, ...]:
        """Multiply-accumulates of each group's network over the base's, in (0, 1]; `losses` are the base's mean losses in the groups."""
