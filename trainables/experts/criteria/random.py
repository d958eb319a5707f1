"""No criterion at all, as a baseline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainables.experts.criteria.criterion import Criterion

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.networks.modules.denoiser import Denoiser
    from trainables.training.batch import Batch


class Random(Criterion):
    """Uniform random numbers, a function of the seed and the block's name."""

    kind: Literal["random"] = "random"
    seed: int = Field(0, ge=0, description="seed of the numbers")

    def scores(self, denoiser: Denoiser, batches: Iterable[Batch]) -> dict[str, Tensor]:
        import torch

        from trainables.networks.modules.units import prunable
        from trainables.randomness import uniform

        units = prunable(denoiser.network)
        return {name: torch.from_numpy(uniform(self.seed, f"pruning {name}", 0, of.count)) for name, of in units.items()}
