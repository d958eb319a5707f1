"""The global norm of the gradients: logged as a mean over steps, and clipped where that is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm


@dataclass(frozen=True)
class GradientNorms:
    """What the norms of some steps came to, before clipping."""

    total: float  # sum over the steps in which it was finite
    finite: int  # number of these
    clipped: int  # of these, those above the limit


def clipped_norm(parameters: Sequence[Tensor], limit: float, norm_of: Callable[[Sequence[Tensor]], Tensor] | None = None) -> Tensor:
    """The norm [] of the parameters' gradients together; where it is larger than the limit, they are scaled down to that.

    Pascanu et al. 2013.  A limit of 0 is none; `norm_of` computes the norm where ranks share out the gradients.  Nothing here waits for
    the device.
    """
    norm = norm_of(parameters) if norm_of else get_total_norm([p.grad for p in parameters if p.grad is not None], foreach=True)
    if limit:
        clip_grads_with_norm_(parameters, limit, norm, foreach=True)
    return norm


def add_norms(totals: np.ndarray, norms: np.ndarray, limit: float) -> None:
    """Add norms [steps] one after the other to the fields of GradientNorms [3]; those that are not finite are left out."""
    for norm in norms[np.isfinite(norms)]:
        totals += (norm, 1.0, norm > np.float32(limit or math.inf))
