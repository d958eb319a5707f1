"""Adam with EDM2's learning-rate schedule (Karras et al. 2024, eq. 67)."""

from __future__ import annotations

import math

from pydantic import Field

from trainables.method import Settings, searchable


class Adam(Settings):
    """lr(images) = lr / sqrt(max(images/decay_after, 1)) * min(images/ramp_up, 1); `images` counts those before the step."""

    lr: float = searchable(0.01, low=1e-3, high=3e-2, log=True, gt=0, description="reference learning rate")
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the gradient's mean")
    beta2: float = Field(0.99, ge=0, lt=1, description="decay of the gradient's second moment")
    eps: float = Field(1e-8, gt=0, description="added to the root of the second moment")
    decay_after: int = Field(0, ge=0, description="images after which lr falls as 1/sqrt (EDM2's t_ref x batch); 0 is never")
    ramp_up: int = Field(0, ge=0, description="images of the linear ramp-up; 0 is none")

    def learning_rate(self, images: float) -> float:
        """The rate of the step that begins after `images` images have been seen."""
        rate = self.lr
        if self.decay_after:
            rate /= math.sqrt(max(images / self.decay_after, 1.0))
        if self.ramp_up:
            rate *= min(images / self.ramp_up, 1.0)
        return rate
