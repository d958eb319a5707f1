"""The post-hoc EMA sweep of one run: its metric at several EMA lengths, on the same latents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.build import build_denoiser
from trainables.denoiser import Denoiser
from trainables.ema.reconstruct import reconstruct
from trainables.ema.snapshots import Snapshot, list_snapshots, load_vector
from trainables.evaluation import evaluator_of
from trainables.recipe import Recipe


@dataclass(frozen=True)
class SweepPoint:
    """One EMA length of one run."""

    sigma_rel: float
    images: int
    distance: float
    profile_error: float
    coefficient_norm: float
    examples: np.ndarray  # uint8 [up to 64, C, H, W]


def sweep(recipe: Recipe, folder: Path, cache: Path, sigma_rels: Sequence[float]) -> list[SweepPoint]:
    """Reconstruct each width at the run's last stored time and score it; in the order given."""
    snapshots = list_snapshots(folder / "snapshots")
    averages = reconstruct(snapshots, sigma_rels)
    evaluator = evaluator_of(recipe, cache)
    denoiser = build_denoiser(recipe, recipe.data.load()).eval()
    weaker = _weaker(recipe, snapshots)
    points = []
    for k, sigma_rel in enumerate(averages.sigma_rels):
        load_vector(averages.vectors[k], denoiser)
        score = evaluator.score(denoiser, recipe.evaluation.samples, weaker)
        trust = averages.reliability[k]
        points.append(SweepPoint(sigma_rel, averages.images, score.distance, trust.profile_error, trust.coefficient_norm, score.examples))
    return points


def _weaker(recipe: Recipe, snapshots: Sequence[Snapshot]) -> Denoiser | None:
    """The guide of autoguidance: an average stored earlier in the same run."""
    guidance = recipe.evaluation.guidance
    if guidance.off or guidance.by != "weaker":
        return None
    wanted = guidance.weaker_share * recipe.duration.images
    images = min({s.images for s in snapshots}, key=lambda t: abs(t - wanted))
    denoiser = build_denoiser(recipe, recipe.data.load()).eval()
    load_vector(reconstruct(snapshots, [guidance.weaker_sigma_rel], images).vectors[0], denoiser)
    return denoiser
