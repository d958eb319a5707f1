"""First-order Taylor criterion (Molchanov et al. 2017, arXiv 1611.06440, eq. 9), per image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from trainables.experts.criteria.criterion import Criterion

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.networks.modules.denoiser import Denoiser
    from trainables.training.batch import Batch


class Taylor(Criterion):
    """Mean over images of |sum of activation x gradient|: how far each image's loss moves, to first order, when the unit is zero."""

    kind: Literal["taylor"] = "taylor"

    def scores(self, denoiser: Denoiser, batches: Iterable[Batch]) -> dict[str, Tensor]:
        from trainables.experts.unit_products import mean_over_images

        return mean_over_images(denoiser, batches, lambda product: product.abs())
