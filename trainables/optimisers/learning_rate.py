"""The learning rate as a function of the images seen."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from trainables.method import Settings, searchable


class LearningRate(Settings):
    """rate(images) = lr * decay(images) * min(images/ramp_up, 1); `images` counts those before the step.

    `inverse_sqrt` is EDM2's: 1/sqrt(max(images/decay_after, 1)) (Karras et al. 2024, eq. 67).  `linear` and `cosine` (Loshchilov &
    Hutter 2017, without restarts) stay at 1 up to `decay_after`, or to the end of the ramp-up where that is later, and then fall to
    `decay_to` at the end of training, so that a shorter run is not the beginning of a longer one.
    """

    lr: float = searchable(0.01, low=1e-3, high=3e-2, log=True, gt=0, description="reference learning rate")
    decay: Literal["constant", "inverse_sqrt", "linear", "cosine"] = Field(
        "inverse_sqrt", description="how lr falls: as 1/sqrt after decay_after (EDM2), or to decay_to x lr at the end of duration.images"
    )
    decay_after: int = Field(0, ge=0, description="images after which lr falls (EDM2's t_ref x batch); 0 is never for inverse_sqrt")
    decay_to: float = Field(0.0, ge=0, lt=1, description="share of lr at the end of training, for linear and cosine alone")
    ramp_up: int = Field(0, ge=0, description="images of the linear ramp-up; 0 is none")

    @property
    def depends_on_length(self) -> bool:
        """Whether the rate at some time depends on how long training goes on after it."""
        return self.decay in ("linear", "cosine")

    def learning_rate(self, images: float, total: float) -> float:
        """The rate of the step that begins after `images` of `total` images have been seen."""
        rate = self._decayed(images, total)
        if self.ramp_up:
            rate *= min(images / self.ramp_up, 1.0)
        return rate

    def check_length(self, total: int) -> None:
        """ValueError where lr would not fall within `total` images."""
        if self.depends_on_length and self._first >= total:
            name = "decay_after" if self.decay_after >= self.ramp_up else "ramp_up"
            raise ValueError(
                f"optimiser.{name} must be below duration.images = {total} where optimiser.decay is {self.decay}, and "
                f"{self._first} is not: lr would never fall"
            )

    @property
    def _first(self) -> int:
        """Images after which linear and cosine fall."""
        return max(self.decay_after, self.ramp_up)

    def _decayed(self, images: float, total: float) -> float:
        if self.decay == "inverse_sqrt" and self.decay_after:
            return self.lr / math.sqrt(max(images / self.decay_after, 1.0))
        if not self.depends_on_length:
            return self.lr
        progress = min(max((images - self._first) / (total - self._first), 0.0), 1.0)
        left = 1.0 - progress if self.decay == "linear" else (1.0 + math.cos(math.pi * progress)) / 2
        return self.lr * (self.decay_to + (1.0 - self.decay_to) * left)

    @model_validator(mode="after")
    def _fields_have_an_effect(self) -> LearningRate:
        if self.decay == "constant" and self.decay_after:
            raise ValueError("decay_after has no effect where decay is constant: leave it out, or choose another decay")
        if self.decay_to and not self.depends_on_length:
            raise ValueError(f"decay_to has no effect where decay is {self.decay}: leave it out, or set decay: linear or cosine")
        return self
