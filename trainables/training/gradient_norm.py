"""The global norm of the gradients: logged as a mean over steps, and clipped where that is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm


@dataclass(frozen=True)
class GradientNorms:
    """What the norms of some steps came to, before clipping."""

    total: float  # sum over the steps in which it was finite
    finite: int  # number of these
    clipped: int  # of these, those above the limit


class GradientNorm:
    """Of one run; the norm of all gradients together (Pascanu et al. 2013).  Nothing here waits for the device."""

    def __init__(self, limit: float, device: torch.device) -> None:
        """`limit` is the largest norm that is left as it is; 0 is none."""
        self._limit = limit
        self.totals = torch.zeros(3, dtype=torch.float64, device=device)  # the fields of GradientNorms

    def take(self, parameters: Sequence[Tensor]) -> None:
        """Note the norm of the parameters' gradients, and scale them down to the limit where it is larger."""
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None], foreach=True)
        if self._limit:
            clip_grads_with_norm_(parameters, self._limit, norm, foreach=True)
        finite = torch.nan_to_num(norm, nan=0.0, posinf=0.0)
        self.totals += torch.stack([finite, norm < math.inf, finite > (self._limit or math.inf)])
