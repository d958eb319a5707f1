"""My pruning criterion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from trainables.experts.criteria.criterion import Criterion

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.networks.modules.denoiser import Denoiser
    from trainables.training.batch import Batch


class MyMethod(Criterion):
    """Largest weight that reads a unit."""

    kind: Literal["my_method"] = "my_method"

    def scores(self, denoiser: Denoiser, batches: Iterable[Batch]) -> dict[str, Tensor]:
        """[units] float64 on the CPU by the names that `prunable` gives; the higher, the more is lost with a unit."""
        from trainables.networks.modules.units import prunable

        state = denoiser.network.state_dict()
        units = prunable(denoiser.network)
        return {name: of.reads.by_unit(state[of.reads.tensor], of.count).abs().amax(1).double().cpu() for name, of in units.items()}
