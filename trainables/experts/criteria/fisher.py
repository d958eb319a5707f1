"""Fisher criterion (Theis et al. 2018, arXiv 1801.05787)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from trainables.experts.criteria.criterion import Criterion

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.networks.modules.denoiser import Denoiser
    from trainables.training.batch import Batch


class Fisher(Criterion):
    """Mean over images of (sum of activation x gradient)^2: the square of Taylor's criterion, which weighs single images more."""

    kind: Literal["fisher"] = "fisher"

    def scores(self, denoiser: Denoiser, batches: Iterable[Batch]) -> dict[str, Tensor]:
        from trainables.experts.unit_products import mean_over_images

        return mean_over_images(denoiser, batches, lambda product: product.square())
