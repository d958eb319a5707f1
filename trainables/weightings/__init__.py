"""Loss weightings over log SNR; one file per idea, found by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainables.method import Array, build, kinds_in, one_of
from trainables.targets import make_target
from trainables.weightings.weighting import Weighting

KINDS = kinds_in(__name__, Weighting)

if TYPE_CHECKING:
    AnyWeighting = Weighting
else:
    AnyWeighting = one_of(KINDS)


def make_weighting(name: str, **params: Any) -> Weighting:
    """A weighting by name: `make_weighting("min_snr", gamma=5)`; a ConfigError says what is allowed."""
    return build(KINDS, "weighting", name, params)


def loss_weight(name: str, log_snr: Array, target: str, **params: Any) -> Array:
    """The weight on the squared error of `target` (eps, x0, v, edm, flow) at the given log SNR.

    Takes numpy arrays, torch tensors or numbers and keeps shape and dtype; a ConfigError says what is allowed.
    """
    return make_weighting(name, **params).weight(log_snr, make_target(target))


__all__ = ["KINDS", "AnyWeighting", "Weighting", "loss_weight", "make_weighting"]
