"""What a criterion is: a score for every unit of a network's blocks."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from typing import TYPE_CHECKING

from trainables.method import Method

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.networks.modules.denoiser import Denoiser
    from trainables.training.batch import Batch


class Criterion(Method, abc.ABC):
    """The higher a unit's score, the more is lost with it; scores of one criterion compare between blocks."""

    @abc.abstractmethod
    def scores(self, denoiser: Denoiser, batches: Iterable[Batch]) -> dict[str, Tensor]:
        """[units] float64 by name, on the CPU; the denoiser, its gradients and its mode stay as they are."""
