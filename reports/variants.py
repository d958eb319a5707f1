"""The variants of a design: each at its own best EMA length over all its seeds, compared, with verdicts in words."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from reports.results import StudyResults, TrialResult
from reports.statistics.blocked_model import SeedScore, pairing
from reports.statistics.comparisons import Comparisons, compare
from reports.statistics.race import race
from reports.statistics.verdicts import Verdict, judge
from search_spaces.designs import Family
from search_spaces.study import Study


@dataclass(frozen=True)
class Variant:
    """One variant on all its seeds."""

    name: str
    trials: tuple[TrialResult, ...]
    sigma_rel: float | None  # best over all seeds together; None where its seeds were not swept at common lengths
    scores: dict[int, float]  # by seed, at that length, or else each at its own best
    lengths: tuple[float, ...] = ()  # EMA lengths at which all its seeds were swept

    @property
    def mean(self) -> float | None:
        """Geometric mean of the scores."""
        return math.exp(statistics.fmean(map(math.log, self.scores.values()))) if self.scores else None

    @property
    def failed(self) -> list[int]:
        """Seeds whose training ended without a score: an outcome, not a missing value."""
        return [t.seed for t in self.trials if t.status == "failed" or (t.status == "completed" and t.seed not in self.scores)]

    @property
    def own_lengths(self) -> list[float]:
        """The best EMA length of each seed."""
        return [t.sigma_rel for t in self.trials if t.sigma_rel is not None]

    @property
    def train_seconds(self) -> float:
        return sum(t.train_seconds for t in self.trials)


class Question(Protocol):
    """What is asked of variants: a study's design, or another set of comparisons."""

    @property
    def family(self) -> Family: ...
    @property
    def baseline_name(self) -> str: ...
    @property
    def smallest_effect(self) -> float: ...
    @property
    def looks(self) -> tuple[int, ...]: ...
    @property
    def seed_list(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class Ablation:
    """The outcome of a comparison of variants."""

    metric: str
    design: Question
    variants: tuple[Variant, ...]

    @cached_property
    def comparisons(self) -> Comparisons | None:
        """None while too little has been trained."""
        try:
            return self._compared()
        except ValueError:
            return None

    @cached_property
    def verdicts(self) -> list[Verdict]:
        return judge(self.comparisons, self.design.smallest_effect, self.metric) if self.comparisons else []

    @property
    def headline(self) -> str:
        """The verdict in one sentence."""
        open_ = [v for v in self.verdicts if v.word == "cannot tell yet"]
        decided = sorted((v for v in self.verdicts if v.word in ("better", "worse")), key=lambda v: v.comparison.difference)
        if not self.verdicts:
            return f"Nothing can be said yet: {self._why_nothing}."
        if self.design.family == "baseline" and (better := [v for v in decided if v.word == "better"]):
            return better[0].sentence
        if decided:
            return decided[0].sentence if self.design.family != "baseline" else self._none_better(len(open_))
        return self._none_better(len(open_))

    @property
    def notes(self) -> list[str]:
        """What a reader must know before believing a verdict."""
        found = [
            f"{v.name} is unstable: seed{'s' if len(v.failed) > 1 else ''} {', '.join(map(str, v.failed))} ended without a score, "
            f"and its numbers are those of the others" for v in self.variants if v.failed
        ]
        found += [
            f"{v.name}'s best EMA length, {v.sigma_rel:g}, lies at the edge of the swept range ({v.lengths[0]:g} to {v.lengths[-1]:g}): "
            "a wider range may find a better one" for v in self.variants if v.lengths and v.sigma_rel in (v.lengths[0], v.lengths[-1])
        ]
        if any(v.sigma_rel is None and v.scores for v in self.variants):
            found.append("EMA lengths were tuned per seed, because the seeds of a variant were not swept at the same lengths; "
                         "the best of several is a little too good")
        if self.comparisons and self.comparisons.paired:
            found.append(f"spreads differ between variants (p = {self.comparisons.unequal_p:.3f}): each pair has its own variance")
        if self.comparisons and self.comparisons.wider:
            found.append(f"{self.comparisons.wider} spreads more between seeds than the others: its intervals are those of its own paired "
                         "differences where these are wider")
        correlation = pairing(self._scores)
        if correlation is not None:
            found.append(f"scores of the same seed correlate by {correlation:.2f} between variants"
                         + ("; pairing by seed has gained little" if correlation < 0.2 else ""))
        return found

    @property
    def _scores(self) -> list[SeedScore]:
        return [SeedScore(v.name, seed, score) for v in self.variants for seed, score in v.scores.items() if score > 0]

    def _compared(self) -> Comparisons:
        design = self.design
        if not design.looks:
            return compare(self._scores, design.family, design.baseline_name)
        ended = {(v.name, seed) for v in self.variants for seed in (*v.scores, *v.failed)}
        return race(
            self._scores, ended, design.seed_list, design.looks, design.family, design.baseline_name, design.smallest_effect
        ).comparisons

    @property
    def _why_nothing(self) -> str:
        try:
            self._compared()
        except ValueError as error:
            return str(error)
        return ""

    def _none_better(self, undecided: int) -> str:
        against = f"better than {self.design.baseline_name}" if self.design.family == "baseline" else "better than another"
        rest = f"; {undecided} of {len(self.verdicts)} comparisons cannot be told yet" if undecided else ""
        return f"No variant has been shown to be {against} in {self.metric}{rest}."


def ablation_of(results: StudyResults) -> Ablation | None:
    """The outcome of a study's design; None where it is a search."""
    study = Study.model_validate(results.definition) if results.definition.get("design") else None
    if study is None or study.design is None:
        return None
    trials = {_place(trial.values): trial for trial in results.trials}
    by_variant: dict[str, list[TrialResult]] = {}
    for planned in study.design_trials:
        mine = by_variant.setdefault(planned.variant, [])
        if trial := trials.get(_place(planned.values)):
            mine.append(trial)
    return Ablation(results.metric, study.design, tuple(variant_of(name, mine) for name, mine in by_variant.items()))


def _place(values: Mapping[str, Any]) -> str:
    """What tells a trial of a design from the others: its number is not its place in the design where seeds were spared."""
    return json.dumps(values, sort_keys=True)


def variant_of(name: str, trials: list[TrialResult]) -> Variant:
    """Trials on several seeds at the EMA length with the least mean log score over all seeds."""
    completed = [t for t in trials if t.status == "completed" and t.best is not None and math.isfinite(t.best) and t.best > 0]
    curves = {t.seed: {p.sigma_rel: p.distance for p in t.ema_curve if p.distance > 0 and math.isfinite(p.distance)} for t in completed}
    common = sorted(set.intersection(*(set(c) for c in curves.values()))) if curves else []
    if not common:
        return Variant(name, tuple(trials), None, {t.seed: t.best for t in completed if t.best is not None})
    best = min(common, key=lambda width: sum(math.log(curve[width]) for curve in curves.values()))
    return Variant(name, tuple(trials), best, {seed: curve[best] for seed, curve in curves.items()}, tuple(common))
