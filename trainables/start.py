"""Which weights a run begins from, where they are not random. No torch here."""

from __future__ import annotations

from pydantic import Field

from trainables.ema.profile import SIGMA_REL_MAX
from trainables.method import Settings

_SHA256 = r"^[0-9a-f]{64}$"


class Start(Settings):
    """An average of another run's weights, by what decides it; the weights themselves lie in the run's folder (start.safetensors)."""

    stage: str = Field(pattern=_SHA256, description="stage key of the run whose weights these are")
    images: int = Field(ge=1, description="time of the average, in training images of that run")
    sigma_rel: float = Field(gt=0, lt=SIGMA_REL_MAX, description="EMA length of the average, made post hoc")
    kept: str | None = Field(None, pattern=_SHA256, description="SHA-256 of which channels were kept in pruning; none is all")
