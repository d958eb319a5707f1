"""How much sooner a variant reaches the baseline's final score, from scores at several stored times, each at its own best EMA length.

For every seed the target is the score with which the baseline's training of that seed ended.  The variant's time is where its curve of
log score over log images first comes down to it, on straight lines between stored times.  The speed-up is the ratio of both times; its
mean over seeds is geometric, with a 95 % interval by the t distribution of the log ratios.  Where a seed never reaches its target, or
has done so before the first stored time, there is a bound and no mean.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from reports.curves import Points, geometric_means
from reports.ledger import macs_per_image
from reports.results import TrialResult
from reports.variants import Ablation, Variant

Curve = Points  # (images, score), by time


@dataclass(frozen=True)
class SpeedUp:
    """A variant's, over the baseline: more than 1 is sooner."""

    variant: str
    seeds: int
    reached: int  # seeds that reach their target
    images: float | None  # ratio of training images; None where some seed has a bound only
    low: float | None
    high: float | None
    seconds: float | None  # of the workers' training time
    macs: float | None  # of training's multiply-accumulates
    bound: Literal["", "at least", "at most"] = ""  # of `images`, where all that is known is one

    @property
    def text(self) -> str:
        """In words."""
        if self.bound == "at most":
            return f"{self.seeds - self.reached} of {self.seeds} seeds do not reach the baseline's final score"
        if self.bound == "at least":
            return f"at least {self.images:.2f} times: some seeds are there before the first stored time"
        interval = f" ({self.low:.2f} to {self.high:.2f})" if self.low is not None and self.high is not None else ""
        return f"{self.images:.2f} times{interval}"

    @property
    def row(self) -> dict[str, Any]:
        """As plain data."""
        return {**vars(self), "bound": self.bound or None, "text": self.text}


def speed_ups(ablation: Ablation) -> list[SpeedUp]:
    """Of every variant with scores at several times; empty where the sweep had one time alone, or there is no baseline."""
    baseline = baseline_of(ablation)
    if baseline is None or not (targets := {seed: curve[-1] for seed, curve in curves_of(baseline).items() if curve}):
        return []
    found = []
    for variant in ablation.variants:
        curves = {seed: curve for seed, curve in curves_of(variant).items() if seed in targets and len(curve) > 1}
        if variant is not baseline and curves:
            found.append(_speed_up(variant, baseline, curves, targets))
    return found


def baseline_of(ablation: Ablation) -> Variant | None:
    """The variant that all others are compared with; None where pairs or steps are compared, or it was not trained."""
    if ablation.design.family != "baseline":
        return None
    return next((v for v in ablation.variants if v.name == ablation.design.baseline_name), None)


def speed_up_curve(variant: Variant, baseline: Variant) -> Curve:
    """(images of the baseline, how many times fewer the variant needs for its score then), of geometric means over common seeds.

    Where the variant has the score before its first stored time, or never, there is no point.
    """
    mine, its = curves_of(variant), curves_of(baseline)
    seeds = mine.keys() & its.keys()
    curve, base = (geometric_means([curves[seed] for seed in seeds]) for curves in (mine, its))
    needed = [(images, images_to(curve, score)) for images, score in base] if len(curve) > 1 else []
    return [(images, images / own) for images, own in needed if 0 < own < math.inf]


def curves_of(variant: Variant) -> dict[int, Curve]:
    """By seed, the scores at each time that all seeds have, at the EMA length with the least mean log score over the seeds then."""
    scores: dict[int, dict[int, dict[float, float]]] = {}  # by seed, images, length
    for trial in variant.trials:
        if trial.status == "completed" and not trial.experts:
            slice_ = {(p.guidance_weight, p.guide_sigma_rel, p.solver) for p in trial.ema_curve}
            for point in trial.ema:
                if (point.guidance_weight, point.guide_sigma_rel, point.solver) in slice_ and point.distance > 0:
                    scores.setdefault(trial.seed, {}).setdefault(point.images, {})[point.sigma_rel] = point.distance
    curves: dict[int, list[tuple[int, float]]] = {seed: [] for seed in scores}
    for images in sorted(set.intersection(*(set(times) for times in scores.values()))) if scores else ():
        at_once = [scores[seed][images] for seed in scores]
        if common := set.intersection(*(set(by_length) for by_length in at_once)):
            best = min(sorted(common), key=lambda length: sum(math.log(by_length[length]) for by_length in at_once))
            for seed in scores:
                curves[seed].append((images, scores[seed][images][best]))
    return dict(curves)


def images_to(curve: Curve, target: float) -> float:
    """Images after which the score is first at the target; infinite where it never is, 0 where it is at the first stored time already."""
    if curve[0][1] <= target:
        return 0.0
    for (before, worse), (after, score) in itertools.pairwise(curve):
        if score <= target:
            share = math.log(worse / target) / math.log(worse / score)
            return math.exp(math.log(before) + share * math.log(after / before))
    return math.inf


def _speed_up(variant: Variant, baseline: Variant, curves: dict[int, Curve], targets: dict[int, tuple[float, float]]) -> SpeedUp:
    needed = {seed: images_to(curve, targets[seed][1]) for seed, curve in curves.items()}
    reached = sum(math.isfinite(images) for images in needed.values())
    if reached < len(needed):
        return SpeedUp(variant.name, len(needed), reached, None, None, None, None, None, "at most")
    ratios = np.log([targets[seed][0] / (needed[seed] or curves[seed][0][0]) for seed in curves])
    if not all(needed.values()):
        return SpeedUp(variant.name, len(needed), reached, float(np.exp(ratios.mean())), None, None, None, None, "at least")
    seconds, macs = (np.log([cost(baseline, seed) / cost(variant, seed) for seed in curves]) for cost in (_seconds, _macs))
    low = high = None
    if len(ratios) > 1:
        from scipy.stats import t

        half = float(t.ppf(0.975, len(ratios) - 1) * ratios.std(ddof=1) / math.sqrt(len(ratios)))
        low, high = math.exp(ratios.mean() - half), math.exp(ratios.mean() + half)
    of_time, of_macs = (float(np.exp((ratios + costs).mean())) for costs in (seconds, macs))
    return SpeedUp(variant.name, len(needed), reached, float(np.exp(ratios.mean())), low, high, _known(of_time), _known(of_macs))


def _seconds(variant: Variant, seed: int) -> float:
    """Of training one image; NaN where they are not known."""
    trial = _trial(variant, seed)
    return trial.train_seconds / trial.images if trial.train_seconds > 0 and trial.images else math.nan


def _macs(variant: Variant, seed: int) -> float:
    """Of training on one image, too."""
    return macs_per_image(_trial(variant, seed)) or math.nan


def _trial(variant: Variant, seed: int) -> TrialResult:
    return next(trial for trial in variant.trials if trial.seed == seed and trial.status == "completed")


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
