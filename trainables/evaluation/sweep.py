"""The post-hoc EMA sweep of one run: its scores at several EMA lengths, on the same latents."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainables.ema.averages import Averages, node_widths
from trainables.ema.classical_snapshots import read_classical
from trainables.ema.optimum import Optimum, Scored, locate, search_length
from trainables.ema.reconstruct import Plan, Target, plan
from trainables.ema.reliability import Reliability
from trainables.ema.snapshots import Snapshot, list_snapshots, load_vector
from trainables.ema.sweep_settings import Optimise, Sweep
from trainables.errors import UserError
from trainables.evaluation.classical_scores import ClassicalScore
from trainables.evaluation.scoring import Score, evaluator_of
from trainables.networks.modules.build import starting_denoiser
from trainables.networks.modules.denoiser import Denoiser
from trainables.recipe import Recipe
from trainables.sampling.guidance import Guidance


@dataclass(frozen=True)
class Slice:
    """What is held fixed while the EMA length varies."""

    images: int
    guidance_weight: float
    guide_sigma_rel: float | None  # of the network that guides in autoguidance


@dataclass(frozen=True)
class SweepPoint:
    """One EMA length in one slice."""

    slice: Slice
    sigma_rel: float
    distance: float
    standard_error: float
    metrics: dict[str, float]
    profile_error: float
    drift_error: float
    coefficient_norm: float
    storage_error: float
    feature_hash: str  # of the feature network of the distance
    examples: np.ndarray = field(repr=False)  # uint8 [up to 64, C, H, W]
    repeats: tuple[float, ...] = ()  # the same on fresh latents
    nearest: tuple[int, ...] = ()  # where memorisation is looked at: position among the training images of each example's nearest one


@dataclass(frozen=True)
class SliceOptimum:
    """The best EMA length in one slice by one metric."""

    slice: Slice
    metric: str
    sigma_rel: float
    low: float
    high: float


@dataclass(frozen=True)
class SweepResult:
    """All that a sweep has found; the points in the order of their evaluation."""

    points: tuple[SweepPoint, ...]
    optima: tuple[SliceOptimum, ...]
    evaluations: int
    seconds: float
    classical: tuple[ClassicalScore, ...] = ()  # of the recipe's ema.classical, in every slice


def sweep_plan(recipe: Recipe, folder: Path, settings: Sweep) -> Plan:
    """Every average that the sweep needs, to be made in one pass over the stored ones."""
    recipe.check_sweep(settings)
    snapshots = list_snapshots(folder / "snapshots")
    if not snapshots:
        raise UserError(f"{folder}: has no stored averages: nothing was trained there")
    lengths = settings.sigma_rels
    widths = node_widths(lengths.low, lengths.high, lengths.nodes) if isinstance(lengths, Optimise) else lengths
    targets = [Target(width, images) for images in _times(snapshots, settings) for width in widths]
    own = recipe.evaluation.guidance.by == "weaker"  # the guide is an average of the same run
    guides = [Target(s, guide_images(recipe, snapshots)) for s in (_guide_widths(recipe, settings) if own else ())]
    return plan(snapshots, list(dict.fromkeys([*targets, *guides])), settings.solver)


def sweep(recipe: Recipe, folder: Path, cache: Path, settings: Sweep, averages: Averages | None = None,
          device: torch.device | None = None, pulse: Callable[[], None] = lambda: None,
          guide: Callable[[float], Denoiser] | None = None) -> SweepResult:
    """Score the run's averages; `averages` are those of `sweep_plan`, where they have been made already.

    `pulse` is called with each batch of generated images.  `guide` gives the average of an EMA length of a separate network that guides.
    """
    started = time.perf_counter()
    if averages is None:
        made_by = sweep_plan(recipe, folder, settings)
        averages = Averages(made_by, made_by.vectors())
    evaluator = _Evaluations(recipe, folder, cache, averages, device or torch.device("cpu"), pulse, guide)
    weights = settings.guidance_weights or (recipe.evaluation.guidance.weight,)
    guides: Sequence[float | None] = _guide_widths(recipe, settings) or (None,)
    points: list[SweepPoint] = []
    optima: list[SliceOptimum] = []
    classical: list[ClassicalScore] = []
    for images, weight, width in product(_times(averages.plan.snapshots, settings), weights, guides):
        found, best = evaluator.lengths(Slice(images, weight, width), settings.sigma_rels)
        points += found
        optima += best
        classical += evaluator.classical(Slice(images, weight, width))
    return SweepResult(tuple(points), tuple(optima), evaluator.count, time.perf_counter() - started, tuple(classical))


class _Evaluations:
    """Scores averages of one run; counts how often it did."""

    def __init__(
        self, recipe: Recipe, folder: Path, cache: Path, averages: Averages, device: torch.device, pulse: Callable[[], None],
        guide: Callable[[float], Denoiser] | None = None,
    ) -> None:
        self._separate = lru_cache(1)(guide) if guide else None
        self._recipe, self._folder, self._averages, self._device, self._pulse = recipe, folder, averages, device, pulse
        self._evaluator = evaluator_of(recipe, cache, pulse)
        self._main = self._network()
        if recipe.evaluation.compile:
            self._main.network.compile()
        self.count = 0

    def lengths(self, where: Slice, wanted: tuple[float, ...] | Optimise) -> tuple[list[SweepPoint], list[SliceOptimum]]:
        """The curve of one slice: its points, and its optimum by each metric."""
        points: dict[float, SweepPoint] = {}

        def evaluate(sigma_rel: float) -> Scored:
            score, trust = self._score(where, sigma_rel)
            points[sigma_rel] = SweepPoint(
                where, sigma_rel, score.distance, score.standard_error, score.metrics, trust.profile_error, trust.drift_error,
                trust.coefficient_norm, trust.storage_error, score.feature_hash, score.examples,
                nearest=tuple(score.nearest.tolist()) if score.nearest is not None else (),
            )
            return Scored(sigma_rel, score.distance, score.influence)

        if isinstance(wanted, Optimise):
            scored = search_length(evaluate, wanted.low, wanted.high, wanted.evaluations - wanted.repeats)
        else:
            scored = [evaluate(width) for width in wanted]
        optimum = locate(scored)
        if isinstance(wanted, Optimise) and wanted.repeats:
            best = optimum.best.sigma_rel
            again = tuple(self._score(where, best, latents=k)[0].distance for k in range(1, wanted.repeats + 1))
            points[best] = replace(points[best], repeats=again)
        return list(points.values()), self._optima(where, optimum, list(points.values()))

    def classical(self, where: Slice) -> list[ClassicalScore]:
        """The recipe's classical averages in one slice."""
        found = []
        for average in self._recipe.ema.classical:
            vector = read_classical(self._folder / "snapshots", where.images, average.name)
            width = average.sigma_rel(where.images, self._recipe.duration.batch_size)
            score = self._score_vector(where, vector)
            found.append(ClassicalScore(average.name, width, where.images, where.guidance_weight, where.guide_sigma_rel, score))
        return found

    def _optima(self, where: Slice, main: Optimum, points: Sequence[SweepPoint]) -> list[SliceOptimum]:
        found = [SliceOptimum(where, self._evaluator.metric, main.sigma_rel, main.low, main.high)]
        for features in self._recipe.evaluation.also:
            other = locate([Scored(p.sigma_rel, p.metrics[features.metric]) for p in points])
            found.append(SliceOptimum(where, features.metric, other.sigma_rel, other.low, other.high))
        return found

    def _score(self, where: Slice, sigma_rel: float, latents: int = 0) -> tuple[Score, Reliability]:
        vector, trust = self._averages.at(sigma_rel, where.images)
        return self._score_vector(where, vector, latents), trust

    def _score_vector(self, where: Slice, vector: np.ndarray | torch.Tensor, latents: int = 0) -> Score:
        self.count += 1
        load_vector(vector, self._main)
        guidance = self._recipe.evaluation.guidance.model_copy(update={"weight": where.guidance_weight})
        weaker = self._guide(where, guidance)
        samples = self._recipe.evaluation.samples
        return self._evaluator.score(self._main, samples, weaker, guidance=guidance, latents=latents, pulse=self._pulse)

    def _guide(self, where: Slice, guidance: Guidance) -> Denoiser | None:
        if guidance.off or not guidance.second_network or where.guide_sigma_rel is None:
            return None
        if guidance.by == "network":
            assert self._separate, "a separate network that guides was not given"
            return self._separate(where.guide_sigma_rel)
        images = guide_images(self._recipe, self._averages.plan.snapshots)
        load_vector(self._averages.at(where.guide_sigma_rel, images)[0], self._weaker)
        return self._weaker

    @cached_property
    def _weaker(self) -> Denoiser:
        return self._network()

    def _network(self) -> Denoiser:
        return starting_denoiser(self._recipe, self._evaluator.data, self._folder).eval().to(self._device)


def point_row(point: SweepPoint) -> dict[str, Any]:
    """A point as plain data."""
    row: dict[str, Any] = {
        "sigma_rel": point.sigma_rel, "images": point.slice.images, "guidance_weight": point.slice.guidance_weight,
        "guide_sigma_rel": point.slice.guide_sigma_rel, "distance": point.distance, "standard_error": _finite(point.standard_error),
        "profile_error": point.profile_error, "drift_error": point.drift_error, "coefficient_norm": point.coefficient_norm,
        "storage_error": point.storage_error, "feature_hash": point.feature_hash,
        "metrics": {k: v for k, v in point.metrics.items() if math.isfinite(v)},
    }
    if point.nearest:
        row["nearest"] = list(point.nearest)
    if point.repeats:
        everything = [point.distance, *point.repeats]
        row["repeats"] = {"mean": float(np.mean(everything)), "min": min(everything), "max": max(everything), "n": len(everything)}
    return row


def optimum_row(optimum: SliceOptimum) -> dict[str, Any]:
    """An optimum as plain data."""
    where = optimum.slice
    return {
        "images": where.images, "guidance_weight": where.guidance_weight, "guide_sigma_rel": where.guide_sigma_rel,
        "metric": optimum.metric, "sigma_rel": optimum.sigma_rel, "low": _finite(optimum.low), "high": _finite(optimum.high),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _times(snapshots: Sequence[Snapshot], settings: Sweep) -> list[int]:
    """Stored times nearest to the wanted shares of what was trained."""
    stored = sorted({s.images for s in snapshots})
    return sorted({min(stored, key=lambda t: abs(t - share * stored[-1])) for share in settings.times})


def _guide_widths(recipe: Recipe, settings: Sweep) -> tuple[float, ...]:
    """EMA lengths of the network that guides; none where it is not another one."""
    guidance = recipe.evaluation.guidance
    weights = settings.guidance_weights or (guidance.weight,)
    if not guidance.second_network or all(w == 1.0 for w in weights):
        return ()
    return settings.guide_sigma_rels or (guidance.weaker_sigma_rel,)


def guide_images(recipe: Recipe, snapshots: Sequence[Snapshot]) -> int:
    """The time of the stored averages that guide as the weaker network."""
    wanted = recipe.evaluation.guidance.weaker_share * recipe.duration.images
    return min({s.images for s in snapshots}, key=lambda t: abs(t - wanted))
