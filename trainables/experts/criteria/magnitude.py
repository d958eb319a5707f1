"""Norm of the weights, as a baseline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from trainables.experts.criteria.criterion import Criterion

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.networks.modules.denoiser import Denoiser
    from trainables.training.batch import Batch


class Magnitude(Criterion):
    """Norm of all weights that compute or read a unit. Under EDM2's forced weight norm those that compute it have equal norms."""

    kind: Literal["magnitude"] = "magnitude"

    def scores(self, denoiser: Denoiser, batches: Iterable[Batch]) -> dict[str, Tensor]:
        from trainables.networks.modules.units import prunable

        state = denoiser.network.state_dict()
        found = {}
        for name, units in prunable(denoiser.network).items():
            squares = (part.by_unit(state[part.tensor], units.count).square().sum(1) for part in (*units.makes, units.reads))
            found[name] = sum(squares, state[units.reads.tensor].new_zeros(units.count).double()).sqrt().cpu()
        return found
