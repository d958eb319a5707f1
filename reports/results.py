"""Results of a study as tracked, as plain data: trials, their scores and EMA curves, ranks and the Pareto front."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from reports.documents import CHANGES, reused_text, short, unflatten, variant_name
from search_spaces.study import Study
from trainables.errors import ConfigError
from trainables.metrics.means import mean_score
from trainables.recipe import Recipe, make_recipe


@dataclass(frozen=True)
class EmaPoint:
    """A trial's score at one EMA length."""

    sigma_rel: float
    distance: float
    profile_error: float | None
    standard_error: float | None = None
    images: int = 0
    guidance_weight: float = 1.0
    guide_sigma_rel: float | None = None
    solver: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    feature_hash: str = ""  # of the feature network


SHEET_TITLES = {"ema_lengths": "over EMA length", "training": "over training", "nearest": "beside the nearest training images"}  # by name


@dataclass(frozen=True)
class Sheet:
    """A contact sheet that compares a trial's images."""

    name: str  # one of SHEET_TITLES
    rows: list[str]  # what each is, from above
    png: bytes = b""  # of trials whose pictures are shown

    @property
    def title(self) -> str:
        return SHEET_TITLES[self.name]


@dataclass(frozen=True)
class ClassicalPoint:
    """A trial's score with a classical average of its weights."""

    name: str  # as ema.classical names it
    sigma_rel: float  # of the power function of the same width
    distance: float
    standard_error: float | None = None
    images: int = 0
    guidance_weight: float = 1.0
    guide_sigma_rel: float | None = None


@dataclass
class TrialResult:
    """One trial as tracked."""

    number: int
    variant: str
    seed: int
    status: str
    values: dict[str, Any]
    recipe_key: str
    commit: str
    reason: str
    recipe: dict[str, str]  # dotted path -> text
    images: int
    train_seconds: float
    best: float | None  # score at the best EMA length
    sigma_rel: float | None
    curve: list[tuple[int, float]] = field(default_factory=list)  # (images, interim score)
    loss: list[tuple[int, float]] = field(default_factory=list)
    ema: list[EmaPoint] = field(default_factory=list)
    classical: list[ClassicalPoint] = field(default_factory=list)
    interval: tuple[float, float] | None = None  # 95 % interval of the best EMA length
    standard_error: float | None = None
    solver: str = ""
    optima: list[dict[str, Any]] = field(default_factory=list)
    samples: bytes | None = None  # PNG of generated images at the best EMA length
    sheets: list[Sheet] = field(default_factory=list)  # that compare its images
    metrics: dict[str, float] = field(default_factory=dict)  # everything measured of the trial, by name
    reused: dict[str, Any] = field(default_factory=dict)  # study, trial and images of the training that was taken over
    experts: dict[str, Any] = field(default_factory=dict)  # of its sweep: groups, choices and costs of a step-adaptive trial
    stages: list[dict[str, Any]] = field(default_factory=list)  # of its sweep: what a network and its guide were trained for
    densities: dict[int, list[float]] = field(default_factory=dict)  # by images: what an adaptive policy draws, over the schedule's
    started: float = 0.0  # seconds since 1970; 0 where it was not recorded
    ended: float = 0.0
    run_id: str = ""  # in MLflow
    provenance: list[dict[str, Any]] = field(default_factory=list)  # code, versions, machine and data of each process that trained

    @property
    def name(self) -> str:
        """What was varied, as its run in MLflow is named."""
        return variant_name(self.values, self.seed)

    @property
    def origin(self) -> str:
        """Where the training was taken over from; empty where the trial was trained for itself."""
        return reused_text(self.reused)

    @property
    def not_reproducible(self) -> str:
        """Why its commit alone does not give its result; empty where it does."""
        if not self.provenance:
            return "its provenance was not recorded"
        codes = [entry["code"] for entry in self.provenance]
        if any(not code["commit"] for code in codes):
            return "the code had no commit"
        if any(code["dirty"] for code in codes):
            return f"the code had uncommitted changes ({CHANGES} of its run in MLflow)"
        return "it was trained by several commits" if len({code["commit"] for code in codes}) > 1 else ""

    @property
    def feature_hash(self) -> str:
        """Of the feature network that its score was made with; empty where it was not recorded."""
        return next((p.feature_hash for p in self.ema if p.distance == self.best), "")

    @property
    def ema_curve(self) -> list[EmaPoint]:
        """The points in the slice of the best score, made by its solver alone."""
        if not self.ema:
            return []
        last = max(p.images for p in self.ema)
        own = [p for p in self.ema if p.images == last and p.solver == self.solver]
        best = min(own, key=lambda p: p.distance, default=None)
        return [p for p in own if best and (p.guidance_weight, p.guide_sigma_rel) == (best.guidance_weight, best.guide_sigma_rel)]

    @property
    def classical_marks(self) -> list[ClassicalPoint]:
        """The classical averages in the slice of `ema_curve`."""
        where = {(p.images, p.guidance_weight, p.guide_sigma_rel) for p in self.ema_curve}
        return [p for p in self.classical if (p.images, p.guidance_weight, p.guide_sigma_rel) in where]

    def measured(self, name: str, metric: str) -> float:
        """A metric of the trial; infinite where it was not measured."""
        value = self.best if name == metric else self.metrics.get(name)
        return math.inf if value is None else value

    @property
    def label(self) -> str:
        """What was varied, short."""
        return label_of(self.values)


@dataclass(frozen=True)
class Candidate:
    """A proposal of a search on its seeds."""

    trials: tuple[TrialResult, ...]
    wanted: int  # seeds

    @property
    def label(self) -> str:
        """What was searched, short; the seed is not."""
        return label_of({path: value for path, value in self.trials[0].values.items() if path != "seed"})

    @property
    def complete(self) -> bool:
        """Whether all its seeds have a score."""
        return len(self.trials) == self.wanted and all(t.status == "completed" and t.best is not None for t in self.trials)

    @property
    def status(self) -> str:
        """`completed`, or what kept it from its further seeds."""
        states = [t.status for t in self.trials]
        found = next((state for state in ("failed", "infeasible", "stopped", "running") if state in states), "completed")
        return "dropped" if found == "completed" and len(states) < self.wanted else found

    def mean(self, name: str, metric: str) -> float:
        """Over the seeds that have a score, as the sampler is told it; infinite where none has."""
        values = [v for t in self.trials if math.isfinite(v := t.measured(name, metric))]
        return mean_score(name, values) if values else math.inf


@dataclass
class StudyResults:
    """A study as tracked."""

    name: str
    study_id: str
    description: str
    metric: str
    axes: list[str]
    definition: dict[str, Any]
    commit: str
    status: str
    importances: dict[str, tuple[float, float, float]]  # share of each searched parameter with its 95 % interval
    trials: list[TrialResult]
    bounds: dict[str, float] = field(default_factory=dict)  # most that a trial may cost, by metric
    missing: list[int] = field(default_factory=list)  # trials that were recorded, and that MLflow does not have
    stages: list[dict[str, Any]] = field(default_factory=list)  # of its chain: name, first trial, design, reason
    run_id: str = ""
    experiment_id: str = ""

    @cached_property
    def study(self) -> Study | None:
        """Its definition; None where it is not one that this version knows."""
        try:
            return Study.model_validate(self.definition)
        except ValueError:
            return None

    @property
    def objectives(self) -> list[tuple[str, int]]:
        """(metric, 1 where less is better and -1 where more is) of what was optimised; the first ranks the trials."""
        given = self.definition.get("search", {}).get("objectives") or [{"metric": self.metric}]
        return [(o["metric"], -1 if o.get("direction") == "maximise" else 1) for o in given]

    @property
    def further_metrics(self) -> list[str]:
        """What counts besides the score: other objectives, then bounded costs."""
        return list(dict.fromkeys(name for name in [*(name for name, _ in self.objectives), *self.bounds] if name != self.metric))

    @cached_property
    def ranked(self) -> list[TrialResult]:
        """Completed trials within all bounds, best first: stopped ones were trained for less and are not compared with them.

        With several seeds, the first trial of each complete proposal, in the order of the proposals' means: a seed is never ranked.
        """
        name, sign = self.objectives[0]
        if self.candidates:
            return [c.trials[0] for c in self.candidates if c.complete and all(map(self.within_bounds, c.trials))]
        able = [t for t in self.searched if t.status == "completed" and t.best is not None and self.within_bounds(t)]
        return sorted(able, key=lambda t: sign * t.measured(name, self.metric))

    @property
    def published(self) -> str:
        """The paper's result that the study asks about, in a sentence; empty without one."""
        given = self.definition.get("published")
        if not given:
            return ""
        values = ", ".join(f"{variant} {value:g}" for variant, value in given["values"].items())
        return f"{given['claim']} ({given['paper']}{'; ' + given['metric'] + ': ' + values if values else ''})"

    @property
    def floor(self) -> float | None:
        """What real images score, at the same number of samples; None where it was not computed, or not the same for all trials."""
        found = {t.metrics.get(f"floor_{self.metric}") for t in self.trials if t.best is not None}
        return found.pop() if len(found) == 1 else None

    @property
    def searched(self) -> list[TrialResult]:
        """The trials without those of a chain."""
        return [t for t in self.trials if not self.stages or t.number < self.stages[0]["first"]]

    def stage_of(self, trial: TrialResult) -> str:
        """`search`, or the stage of the chain that a trial belongs to."""
        return next((str(s["stage"]) for s in reversed(self.stages) if s["first"] <= trial.number), "search")

    @cached_property
    def candidates(self) -> list[Candidate]:
        """Proposals of a search with several seeds, complete ones first and best first; empty for other studies."""
        seeds = self.definition.get("search", {}).get("seeds", 1)
        if seeds == 1:
            return []
        name, sign = self.objectives[0]
        by_values: dict[str, dict[int, TrialResult]] = {}
        for trial in self.searched:
            values = {path: value for path, value in trial.values.items() if path != "seed"}
            by_values.setdefault(json.dumps(values, sort_keys=True), {}).setdefault(trial.seed, trial)  # proposed twice: the same again
        found = [Candidate(tuple(trials.values()), seeds if isinstance(seeds, int) else len(seeds)) for trials in by_values.values()]
        return sorted(found, key=lambda c: (not c.complete, sign * c.mean(name, self.metric)))

    @cached_property
    def _candidate_of(self) -> dict[int, Candidate]:
        return {trial.number: candidate for candidate in self.candidates for trial in candidate.trials}

    def score(self, trial: TrialResult, name: str) -> float:
        """A metric of a trial, or of the candidate that it stands for."""
        candidate = self._candidate_of.get(trial.number)
        return candidate.mean(name, self.metric) if candidate else trial.measured(name, self.metric)

    def within_bounds(self, trial: TrialResult) -> bool:
        return all(trial.metrics.get(name, math.inf) <= bound for name, bound in self.bounds.items())

    @property
    def infeasible(self) -> list[TrialResult]:
        """Trials whose combination of values is impossible: nothing was trained."""
        return [t for t in self.trials if t.status == "infeasible"]

    @property
    def missing_text(self) -> str:
        """What to do about trials that are missing; empty where none is."""
        if not self.missing:
            return ""
        numbers = ", ".join(map(str, self.missing))
        return f"trials {numbers} are not in MLflow, so that no variant can be called the best: write them with: {track_again(self.name)}"

    @property
    def features_text(self) -> str:
        """What to do about scores by different feature networks; empty where all are by one."""
        by_network: dict[str, list[int]] = {}
        for trial in self.trials:
            if trial.feature_hash:
                by_network.setdefault(trial.feature_hash, []).append(trial.number)
        if len(by_network) < 2:
            return ""
        groups = "; ".join("trials " + ", ".join(map(str, numbers)) for numbers in by_network.values())
        return (f"{self.metric} was computed with {len(by_network)} different feature networks ({groups}), so that these groups cannot be "
                f"compared: delete sweep.json in the folders of one group, and run the study again to score them with the present network")

    @property
    def warnings(self) -> list[str]:
        """What makes its ranking wrong."""
        return [text for text in (self.missing_text, self.features_text) if text]

    @cached_property
    def front(self) -> list[TrialResult]:
        """Ranked trials that no other beats in one objective without losing in another (the Pareto front)."""
        values = {t.number: [sign * self.score(t, name) for name, sign in self.objectives] for t in self.ranked}
        return [t for t in self.ranked if not any(_dominates(other, values[t.number]) for other in values.values())]


def recipe_of(trial: TrialResult) -> Recipe | None:
    """What it was trained by; None where this version does not know it, and of impossible combinations."""
    try:
        return make_recipe(unflatten(trial.recipe)) if trial.recipe else None
    except ConfigError:
        return None


def label_of(values: Mapping[str, Any]) -> str:
    """What was varied, short."""
    return ", ".join(f"{path.removesuffix('.kind').rpartition('.')[2]}={short(value)}" for path, value in values.items())


def _dominates(a: list[float], b: list[float]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def track_again(study: str) -> str:
    """The command that writes a study to MLflow."""
    return f"snrlab track {study}"
