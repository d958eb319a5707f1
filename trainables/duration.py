"""How long a run trains."""

from __future__ import annotations

from pydantic import Field

from trainables.method import Settings


class Duration(Settings):
    """How long to train, counted in images seen."""

    images: int = Field(128_000, ge=1, description="training images in total")
    batch_size: int = Field(128, ge=1, description="images per optimiser step, over all workers")
    checkpoint_minutes: float = Field(
        0.0, ge=0, description="minutes after which a checkpoint is written between two reports, which changes no number; 0 is never"
    )
