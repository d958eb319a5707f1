"""What a run tells while it trains. No torch here: whoever passes it on needs none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Reported at each intermediate evaluation and at the end."""

    images: int
    metrics: dict[str, float]
    done: bool
    recalled: bool = False  # trained by an earlier call, or for another run
