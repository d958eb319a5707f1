"""Criteria by which units are pruned: a file each, found by itself; torch is loaded with the first scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from trainables.experts.criteria.criterion import Criterion
from trainables.method import build, kinds_in, one_of

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.networks.modules.denoiser import Denoiser
    from trainables.training.batch import Batch

KINDS = kinds_in(__name__, Criterion)

if TYPE_CHECKING:
    AnyCriterion = Criterion
else:
    AnyCriterion = one_of(KINDS)

__all__ = ["KINDS", "AnyCriterion", "Criterion", "scores"]


def scores(kind: str | Criterion, denoiser: Denoiser, batches: Iterable[Batch]) -> Mapping[str, Tensor]:
    """How much each unit matters, [units] float64 on the CPU by the names that `prunable` gives; higher ones stay.

    `batches` are images at the levels on which the network is to work.  `kind` is a criterion, or the name of one with its defaults;
    ConfigError for another name.
    """
    criterion = build(KINDS, "criterion", kind, {}) if isinstance(kind, str) else kind
    return criterion.scores(denoiser, batches)
