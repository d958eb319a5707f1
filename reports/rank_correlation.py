"""Whether interim scores rank trials as final ones do: what early stopping relies on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from reports.results import StudyResults

_FEWEST = 3  # trials of which a correlation can be anything but 1 or -1


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's coefficient, in [-1, 1], between interim scores after so many images and final ones."""

    images: int
    rho: float
    trials: int


def rank_correlations(results: StudyResults) -> list[RankCorrelation]:
    """One per time at which at least three completed trials, not all alike, have an interim score; by images."""
    from scipy.stats import spearmanr

    pairs: dict[int, list[tuple[float, float]]] = {}
    for trial in results.trials:
        if trial.status == "completed" and trial.best is not None:
            for images, score in trial.curve:
                if math.isfinite(score) and math.isfinite(trial.best):
                    pairs.setdefault(images, []).append((score, trial.best))
    found = []
    for images, scores in sorted(pairs.items()):
        interim, final = [score for score, _ in scores], [score for _, score in scores]
        if len(scores) >= _FEWEST and len(set(interim)) > 1 and len(set(final)) > 1:
            found.append(RankCorrelation(images, float(spearmanr(interim, final).statistic), len(scores)))
    return found
