"""Early stopping as plain decisions: a rule hears intermediate scores one after the other and says which trials stop.

No clock, no process and no random number of a run comes in, so that a rule that is told the same reports again stands where
it stood.  Ray Tune's schedulers start empty after a restart, and draw HyperBand's brackets from the process's random numbers.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from search_spaces.search import Asha, HyperBand, Median
from search_spaces.study import Study
from trainables.randomness import uniform


@dataclass(frozen=True)
class Report:
    """A trial's intermediate score; less is better, and one that is not finite is the worst."""

    trial: int
    images: int
    score: float


EndOf = Callable[[int], float]


def _all(trial: int) -> float:
    return math.inf


class StoppingRule(abc.ABC):
    """Hears every report once, in the order in which they came."""

    def __init__(self, end_of: EndOf = _all) -> None:
        """`end_of` a trial is the first trial that it is not compared with."""
        self._end_of = end_of

    @abc.abstractmethod
    def stops(self, report: Report) -> bool:
        """Take in a report, and say whether its trial is to stop."""

    def _visible(self, report: Report, scores: Mapping[int, float]) -> list[float]:
        """Scores of the other trials that this one is compared with."""
        end = self._end_of(report.trial)
        return [score for trial, score in scores.items() if trial != report.trial and trial < end]


class NoRule(StoppingRule):
    """Every trial runs to its end."""

    def stops(self, report: Report) -> bool:
        return False


class SuccessiveHalving(StoppingRule):
    """Asynchronous successive halving (Li et al. 2020), in one bracket or, as HyperBand (Li et al. 2018), in several.

    Rung k of bracket s lies at `grace * factor^(k + s)` images.  A trial is compared at the highest rung that it has reached and
    not been compared at: it stops unless it is among the best 1/factor of those before it, as in Ray Tune's ASHAScheduler.
    """

    def __init__(self, grace: int, factor: float, brackets: int = 1, seed: int = 0, end_of: EndOf = _all) -> None:
        super().__init__(end_of)
        self._grace, self._factor, self._brackets, self._seed = grace, factor, brackets, seed
        self._rungs: dict[tuple[int, int], dict[int, float]] = {}  # (bracket, rung) -> score by trial

    def stops(self, report: Report) -> bool:
        bracket = self._bracket(report.trial)
        rung = math.floor(math.log(report.images / self._grace) / math.log(self._factor) + 1e-9) - bracket
        while rung >= 0 and report.trial in self._rungs.get((bracket, rung), {}):
            rung -= 1
        if rung < 0:
            return False
        scores = self._rungs.setdefault((bracket, rung), {})
        others = self._visible(report, scores)
        scores[report.trial] = report.score if math.isfinite(report.score) else math.inf
        return bool(others) and scores[report.trial] > _share_below(others, 1.0 / self._factor)

    def _bracket(self, trial: int) -> int:
        """Brackets with more rungs are drawn more often, e times for each rung, as Tune does; a function of (seed, trial)."""
        if self._brackets == 1:
            return 0
        shares = np.exp(-np.arange(self._brackets))
        edges = np.cumsum(shares / shares.sum())
        return int(min(np.searchsorted(edges, uniform(self._seed, "bracket", trial, 1)[0], side="right"), self._brackets - 1))


class MedianRule(StoppingRule):
    """Stop a trial whose best score so far is worse than the median of the others' running means up to the same number of images
    (Golovin et al. 2017), as Ray Tune's MedianStoppingRule."""

    def __init__(self, grace: int, least: int, end_of: EndOf = _all) -> None:
        super().__init__(end_of)
        self._grace, self._least = grace, least
        self._curves: dict[int, list[Report]] = {}

    def stops(self, report: Report) -> bool:
        curve = self._curves.setdefault(report.trial, [])
        curve.append(report)
        if report.images < self._grace:
            return False
        as_far = {trial: self._mean(past, report.images) for trial, past in self._curves.items() if past[-1].images >= report.images}
        means = [mean for mean in self._visible(report, as_far) if math.isfinite(mean)]
        best = min((r.score for r in curve if math.isfinite(r.score)), default=math.inf)
        return len(means) >= self._least and best > float(np.median(means))

    def _mean(self, curve: list[Report], images: int) -> float:
        scores = [r.score for r in curve if self._grace <= r.images <= images]
        return float(np.mean(scores)) if scores else math.nan


def rule_for(study: Study, end_of: EndOf = _all) -> StoppingRule:
    """The rule that a study asks for, which has heard nothing yet."""
    match study.search.early_stopping:
        case Asha(grace_images=grace, reduction_factor=factor):
            return SuccessiveHalving(grace, factor, end_of=end_of)
        case HyperBand(grace_images=grace, reduction_factor=factor, brackets=brackets):
            return SuccessiveHalving(grace, factor, brackets, study.search.seed, end_of)
        case Median(grace_images=grace, min_trials=trials):
            return MedianRule(grace, trials, end_of)
    return NoRule()


def _share_below(scores: list[float], share: float) -> float:
    """The score below which a share of the scores lies, linear between neighbours; the lower one where the upper is infinite."""
    ordered = sorted(scores)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    between = place - low
    return ordered[low] if between == 0 or math.isinf(ordered[low + 1]) else ordered[low] + between * (ordered[low + 1] - ordered[low])
