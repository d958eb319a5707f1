"""Optimiser steps, unless something in them is not finite; nothing here waits for the device.

A step with a non-finite loss or gradient is skipped: weights, moments and step count of the optimiser stay bit for bit.  The averages
go on, because their profiles are defined over images seen: they take in the same weights once more.  EDM2 does otherwise, and so does
`nonfinite: zero`: gradients that are not finite become 0, and the step is taken.

The loss is multiplied by a factor before the backward pass, and gradients are divided by it.  In fp16 with skipped steps it is dynamic
as in torch.amp.GradScaler: halved after a step whose gradients overflow, doubled after 2,000 steps without.  All ranks have the same
losses and gradients, so that they decide alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from trainables.optimisers.arithmetic import Arithmetic
from trainables.training.gradient_norm import GradientNorms, add_norms, clipped_norm

if TYPE_CHECKING:
    from trainables.training.shards import Shards

GROWTH_INTERVAL = 2000  # steps, GradScaler's default
_MOST = 1000  # steps between two looks at the device
_SMALLEST = 2.0**-40  # of the factor; what overflows even then does not overflow because of fp16


@dataclass(frozen=True)
class Totals:
    """What the steps came to."""

    loss: float  # sum over the steps with a finite loss of the mean loss per image
    finite_losses: int
    nonfinite: int  # steps with a loss or a gradient that was not finite, but for the next
    overflows: int  # steps skipped because a gradient overflowed in fp16; the factor was halved
    scale: float  # the factor now
    gradients: GradientNorms


class Steps:
    """Of one run; `state` is restored by writing into its tensors.

    What each step came to stays on the device as it is, and is added up when it is asked for, or after `_MOST` steps.
    """

    def __init__(
        self, settings: Arithmetic, device: torch.device, growth_interval: int = GROWTH_INTERVAL, *, clip_norm: float = 0.0
    ) -> None:
        """`clip_norm` is the largest norm of all gradients together that is left as it is; 0 is none."""
        self.dynamic = settings.precision == "fp16" and settings.nonfinite == "skip"
        self.scale = torch.tensor(settings.loss_scaling, dtype=torch.float32, device=device)
        self._inverse = None if self.dynamic else _inverse(self.scale)
        self._factors: dict[int, Tensor] = {}
        self._zero, self._growth_interval, self._clip_norm = settings.nonfinite == "zero", growth_interval, clip_norm
        self._steady = torch.zeros((), dtype=torch.int32, device=device)  # steps since the factor changed
        self._never = torch.zeros((), device=device)
        self._totals = torch.zeros(4, dtype=torch.float64)  # the first four of Totals
        self._norms = torch.zeros(3, dtype=torch.float64)  # the fields of GradientNorms
        self.shards: Shards | None = None  # where ranks share out the parameters
        self._taken: list[list[Tensor]] = []  # since then, [] each: mean loss, whether something was not finite, norm, factor

    def factor(self, images: int) -> Tensor:
        """What the sum of the losses of so many images is multiplied by before the backward pass [], for the mean times `scale`."""
        if self.dynamic:
            return self.scale * (1.0 / images)
        if images not in self._factors:
            self._factors[images] = self.scale * (1.0 / images)
        return self._factors[images]

    def take(self, optimiser: torch.optim.Optimizer, mean_loss: Tensor) -> None:
        """One step on gradients of the loss times `scale`, averaged over the ranks; `mean_loss` [] is that of all ranks."""
        parameters = [p for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
        gradients = [p.grad for p in parameters]
        found = torch.zeros_like(mean_loss)
        inverse = _inverse(self.scale) if self._inverse is None else self._inverse
        torch._amp_foreach_non_finite_check_and_unscale_([*gradients, mean_loss.clone()], found, inverse)
        if self.shards:
            found = self.shards.any(found)
        if self._zero:
            for gradient in gradients:
                torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0, out=gradient)
        norm = clipped_norm(parameters, self._clip_norm, self.shards.norm if self.shards else None)
        self._taken.append([mean_loss, found, norm, *([self.scale.clone()] if self.dynamic else [])])
        self._step(optimiser, self._never if self._zero else found)
        if self.dynamic:
            torch._amp_update_scale_(self.scale, self._steady, found, 2.0, 0.5, self._growth_interval)
            self.scale.clamp_(min=_SMALLEST)
        if len(self._taken) == _MOST:
            self._add_up()

    def read(self) -> Totals:
        """Waits for the device."""
        self._add_up()
        loss, finite, nonfinite, overflows = self._totals.tolist()
        norm, finite_norms, clipped = self._norms.tolist()
        gradients = GradientNorms(norm, int(finite_norms), int(clipped))
        return Totals(loss, int(finite), int(nonfinite), int(overflows), float(self.scale), gradients)

    def forget(self) -> None:
        """Losses and norms so far; counts of what was not finite are of the whole run."""
        self._add_up()
        self._totals[:2] = 0
        self._norms.zero_()

    def state(self) -> dict[str, Tensor]:
        """Waits for the device."""
        self._add_up()
        return {"scale": self.scale, "steady": self._steady, "totals": self._totals, "norms": self._norms}

    def _add_up(self) -> None:
        """One step after the other, so that sums are the same whenever this is called."""
        if not self._taken:
            return
        losses, found, norms, *scales = torch.stack([torch.stack(column) for column in zip(*self._taken, strict=True)]).cpu().numpy()
        self._taken = []
        finite, bad = np.isfinite(losses), found > 0
        excused = finite & (scales[0] > _SMALLEST) if self.dynamic else np.zeros_like(bad)
        rows = np.stack([np.where(finite, losses, 0.0), finite, bad & ~excused, bad & excused], axis=1)
        totals = self._totals.numpy()
        for row in rows:
            totals += row
        add_norms(self._norms.numpy(), norms, self._clip_norm)

    def _step(self, optimiser: torch.optim.Optimizer, found: Tensor) -> None:
        """Fused optimisers look at `found` on the device (as torch.amp.GradScaler has them do); for others the host has to."""
        if getattr(optimiser, "_step_supports_amp_scaling", False):
            optimiser.grad_scale, optimiser.found_inf = None, found  # type: ignore[attr-defined]
            optimiser.step()
            del optimiser.grad_scale, optimiser.found_inf  # type: ignore[attr-defined]
        elif not found.item():
            optimiser.step()


def _inverse(scale: Tensor) -> Tensor:
    """1 / scale [], rounded once."""
    return scale.double().reciprocal().float()
