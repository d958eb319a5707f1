"""The published rule: budgets fall linearly from the hardest group to the easiest (Li et al. 2023, arXiv 2312.13307)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from trainables.experts.budgets.budget import Budgets
from trainables.method import searchable


class Linear(Budgets):
    """F_i = (i/N + (N - i)/N k) F for the groups i = 1..N in order of difficulty; the hardest, N, keeps the whole network."""

    kind: Literal["linear"] = "linear"
    k: float = searchable(
        0.6, low=0.35, high=1.0, gt=0, le=1, description="the ratio that budgets fall towards, below that of the easiest group"
    )
    order: Literal["high_snr_large", "low_snr_large", "measured"] = Field(
        "high_snr_large", description="which groups are the hard ones: those of high SNR, of low SNR, or of large held-out loss of the base"
    )

    @property
    def needs_loss(self) -> bool:
        return self.order == "measured"

    def ratios(self, groups: int, losses: Sequence[float] = ()) -> tuple[float, ...]:
        if self.needs_loss and len(losses) != groups:
            raise ValueError("linear budgets in measured order need the base's loss in each group")
        difficulty = {"high_snr_large": range(groups), "low_snr_large": range(groups, 0, -1), "measured": losses}[self.order]
        rank = np.argsort(np.argsort(np.asarray(difficulty), kind="stable"), kind="stable") + 1
        return tuple(float(i / groups + (groups - i) / groups * self.k) for i in rank)
