"""What Adam and its relatives share: decays of the gradient's moments."""

from __future__ import annotations

import abc
from typing import Any

from pydantic import Field

from trainables.optimisers.optimiser import Optimiser


class Moments(Optimiser, abc.ABC):
    """Steps along the gradient's mean over the root of its second moment."""

    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the gradient's mean")
    beta2: float = Field(0.99, ge=0, lt=1, description="decay of the gradient's second moment")
    eps: float = Field(1e-8, gt=0, description="added to the root of the second moment")

    @property
    def _arguments(self) -> dict[str, Any]:
        """Of torch.optim's classes."""
        return {"lr": self.lr, "betas": (self.beta1, self.beta2), "eps": self.eps}
