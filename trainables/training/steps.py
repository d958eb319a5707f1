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

import torch
from torch import Tensor

from trainables.optimisers.arithmetic import Arithmetic
from trainables.training.gradient_norm import GradientNorm, GradientNorms

GROWTH_INTERVAL = 2000  # steps, GradScaler's default
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
    """Of one run; `state` is restored by writing into its tensors."""

    def __init__(
        self, settings: Arithmetic, device: torch.device, growth_interval: int = GROWTH_INTERVAL, *, clip_norm: float = 0.0
    ) -> None:
        """`clip_norm` is the largest norm of all gradients together that is left as it is; 0 is none."""
        self.dynamic = settings.precision == "fp16" and settings.nonfinite == "skip"
        self.scale = torch.tensor(settings.loss_scaling, dtype=torch.float32, device=device)
        self._zero, self._growth_interval = settings.nonfinite == "zero", growth_interval
        self._steady = torch.zeros((), dtype=torch.int32, device=device)  # steps since the factor changed
        self._totals = torch.zeros(4, dtype=torch.float64, device=device)  # the first four of Totals
        self._norm = GradientNorm(clip_norm, device)

    def take(self, optimiser: torch.optim.Optimizer, mean_loss: Tensor) -> None:
        """One step on gradients of the loss times `scale`, averaged over the ranks; `mean_loss` [] is that of all ranks."""
        parameters = [p for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
        gradients = [p.grad for p in parameters]
        overflow = torch.zeros((), device=mean_loss.device)
        torch._amp_foreach_non_finite_check_and_unscale_(gradients, overflow, self.scale.double().reciprocal().float())
        finite_loss = mean_loss.isfinite()
        found = overflow.maximum((~finite_loss).float())
        if self._zero:
            for gradient in gradients:
                torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0, out=gradient)
        self._norm.take(parameters)
        self._count(mean_loss, finite_loss, found)
        self._step(optimiser, torch.zeros_like(found) if self._zero else found)
        if self.dynamic:
            torch._amp_update_scale_(self.scale, self._steady, found, 2.0, 0.5, self._growth_interval)
            self.scale.clamp_(min=_SMALLEST)

    def read(self) -> Totals:
        """Waits for the device."""
        values = torch.cat([self._totals, self.scale.double()[None], self._norm.totals]).tolist()
        loss, finite, nonfinite, overflows, scale, norm, finite_norms, clipped = values
        return Totals(loss, int(finite), int(nonfinite), int(overflows), scale, GradientNorms(norm, int(finite_norms), int(clipped)))

    def forget(self) -> None:
        """Losses and norms so far; counts of what was not finite are of the whole run."""
        self._totals[:2] = 0
        self._norm.totals.zero_()

    def state(self) -> dict[str, Tensor]:
        return {"scale": self.scale, "steady": self._steady, "totals": self._totals, "norms": self._norm.totals}

    def _count(self, mean_loss: Tensor, finite_loss: Tensor, found: Tensor) -> None:
        excused = finite_loss & (self.scale > _SMALLEST) if self.dynamic else torch.zeros_like(finite_loss)
        counts = torch.stack([finite_loss, (found > 0) & ~excused, (found > 0) & excused])
        self._totals += torch.cat([torch.where(finite_loss, mean_loss, 0.0).double()[None], counts.double()])

    def _step(self, optimiser: torch.optim.Optimizer, found: Tensor) -> None:
        """Fused optimisers look at `found` on the device (as torch.amp.GradScaler has them do); for others the host has to."""
        if getattr(optimiser, "_step_supports_amp_scaling", False):
            optimiser.grad_scale, optimiser.found_inf = None, found  # type: ignore[attr-defined]
            optimiser.step()
            del optimiser.grad_scale, optimiser.found_inf  # type: ignore[attr-defined]
        elif not found.item():
            optimiser.step()
