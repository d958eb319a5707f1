"""Scores of classical averages, on the latents on which a sweep scores the power functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from trainables.evaluation.scoring import Score


@dataclass(frozen=True)
class ClassicalScore:
    """One baseline in one slice of a sweep."""

    name: str  # as ema.classical names it
    sigma_rel: float  # of the power function of the same width
    images: int
    guidance_weight: float
    guide_sigma_rel: float | None
    score: Score


def classical_row(found: ClassicalScore) -> dict[str, Any]:
    """As plain data."""
    score = found.score
    return {
        "name": found.name, "sigma_rel": found.sigma_rel, "images": found.images, "guidance_weight": found.guidance_weight,
        "guide_sigma_rel": found.guide_sigma_rel, "distance": score.distance,
        "standard_error": score.standard_error if math.isfinite(score.standard_error) else None, "feature_hash": score.feature_hash,
        "metrics": {name: value for name, value in score.metrics.items() if math.isfinite(value)},
    }
