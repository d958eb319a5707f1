"""A split, a budget rule and a pruning criterion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from trainables.experts.budgets.budget import Budgets
from trainables.experts.criteria.criterion import Criterion
from trainables.experts.splits.split import Axis, Split

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.networks.modules.denoiser import Denoiser
    from trainables.training.batch import Batch


class LabSplit(Split):
    """Equal parts of the sampler's range."""

    kind: Literal["lab_split"] = "lab_split"

    def edges(self, groups: int, axis: Axis) -> np.ndarray:
        low, high = axis.range
        return low + (high - low) * np.arange(1, groups) / groups


class LabBudgets(Budgets):
    """The same for every group."""

    kind: Literal["lab_budgets"] = "lab_budgets"
    share: float = Field(0.6, gt=0, le=1, description="share of the base")

    def ratios(self, groups: int, losses: Sequence[float] = ()) -> tuple[float, ...]:
        return (self.share,) * groups


class LabCriterion(Criterion):
    """The last units go first."""

    kind: Literal["lab_criterion"] = "lab_criterion"

    def scores(self, denoiser: Denoiser, batches: Iterable[Batch]) -> dict[str, Tensor]:
        import torch

        from trainables.networks.modules.units import prunable

        return {name: torch.arange(of.count, 0, -1).double() for name, of in prunable(denoiser.network).items()}
