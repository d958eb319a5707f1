"""An average with a decay that is fixed before training: a baseline beside the widths that are chosen post hoc."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field, model_validator

from trainables.method import Settings


class ClassicalAverage(Settings):
    """average = beta * average + (1 - beta) * weights after each optimiser step, from the initial weights on.

    beta is `decay`, or 2^-(batch/h) where h is `half_life`, or `ramp_up` times the images before the step where that is less (EDM's;
    Karras et al. 2022, with .05).
    """

    decay: float | None = Field(None, gt=0, lt=1, description="beta of each step, whatever the batch; or give half_life")
    half_life: int | None = Field(None, ge=1, description="images after which a weight counts half")
    ramp_up: float = Field(0.0, ge=0, description="half-life at most so many times the images seen so far (EDM: 0.05); 0 is no such bound")

    @property
    def name(self) -> str:
        """`decay_0.999`, `half_life_50000` or `half_life_50000_ramp_up_0.05`."""
        if self.decay is not None:
            return f"decay_{self.decay!r}"
        return f"half_life_{self.half_life}" + (f"_ramp_up_{self.ramp_up!r}" if self.ramp_up else "")

    def beta(self, before: Any, step: int) -> Any:
        """What is kept of the average in a step of `step` images after `before` images; numbers or arrays."""
        if self.half_life is None:
            return before * 0.0 + (self.decay or 0.0)
        half_life = np.minimum(self.half_life, self.ramp_up * before) if self.ramp_up else before * 0.0 + self.half_life
        return np.exp2(-step / np.maximum(half_life, 1e-8))

    def sigma_rel(self, images: int, step: int) -> float:
        """The width of this average after `images` images in steps of `step`, as that of a power function: std of its times over images."""
        before = np.arange(0, images, step, dtype=float)
        beta = self.beta(before, step)
        weights = (1.0 - beta) * np.append(np.cumprod(beta[:0:-1])[::-1], 1.0)
        weights /= weights.sum()
        times = (before + step / 2) / images
        return float(np.sqrt(weights @ np.square(times - weights @ times)))

    @model_validator(mode="after")
    def _one_of_both(self) -> ClassicalAverage:
        if (self.decay is None) == (self.half_life is None):
            raise ValueError("give either decay or half_life")
        if self.ramp_up and self.half_life is None:
            raise ValueError("ramp_up bounds half_life, and has no effect on decay: give half_life, or leave ramp_up out")
        return self
