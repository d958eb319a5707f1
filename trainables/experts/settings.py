"""What makes a recipe step-adaptive: groups of noise levels, each with a pruned and fine-tuned network of its own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from trainables.experts.budgets import AnyBudgets
from trainables.experts.budgets.budget import MOST_GROUPS
from trainables.experts.budgets.linear import Linear
from trainables.experts.criteria import AnyCriterion
from trainables.experts.criteria.taylor import Taylor
from trainables.experts.fine_tuning import FineTuning
from trainables.experts.proxy import Proxy
from trainables.experts.splits import AnySplit
from trainables.experts.splits.equal_log_snr import EqualLogSnr
from trainables.method import Settings


class Pruning(Settings):
    """Which units a pruned network keeps, and how a group's budget is shared among the blocks."""

    criterion: AnyCriterion = Field(default_factory=Taylor, description="score by which units stay, on the group's levels")
    allocation: Literal["uniform", "greedy", "proxy"] = Field(
        "uniform",
        description="uniform: every block keeps the same share; greedy: units of the smallest score per MAC go first; "
        "proxy: shares are searched, by the held-out loss after a short recovery",
    )
    proxy: Proxy | None = Field(None, description="length of that search, for the allocation proxy alone; none is its defaults")
    multiple: int = Field(8, ge=1, description="kept channels per block are a multiple of this; heads are whole")
    images: int = Field(512, ge=1, description="images from which the scores are computed, each at levels of its own")

    @model_validator(mode="after")
    def _search_is_used(self) -> Pruning:
        if self.proxy and self.allocation != "proxy":
            raise ValueError(f"proxy has no effect where allocation is {self.allocation}: leave it out, or set allocation: proxy")
        return self


class Experts(Settings):
    """Step-adaptive training (Li et al. 2023, arXiv 2312.13307): a base, then per group a network pruned from it and fine-tuned."""

    groups: int = Field(4, ge=1, le=MOST_GROUPS, description="number of groups of noise levels")
    split: AnySplit = Field(default_factory=EqualLogSnr, description="where the groups end")
    budgets: AnyBudgets = Field(default_factory=Linear, description="compute of each group's network")
    pruning: Pruning = Field(default_factory=Pruning, description="how networks come down to their budgets")
    fine_tune: FineTuning = Field(default_factory=FineTuning, description="training of each group's network")

    @model_validator(mode="after")
    def _fits_the_groups(self) -> Experts:
        self.split.check(self.groups)
        return self
