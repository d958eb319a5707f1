"""Results of a study as plain data, read from MLflow and from nothing else."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from trainables.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_PAGE = 1000


@dataclass(frozen=True)
class EmaPoint:
    """A trial's score at one EMA length."""

    sigma_rel: float
    distance: float
    profile_error: float
    standard_error: float | None = None
    images: int = 0
    guidance_weight: float = 1.0
    guide_sigma_rel: float | None = None
    solver: str = ""
    metrics: dict[str, float] = field(default_factory=dict)


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
    interval: tuple[float, float] | None = None  # 95 % interval of the best EMA length
    standard_error: float | None = None
    solver: str = ""
    optima: list[dict[str, Any]] = field(default_factory=list)
    samples: bytes | None = None  # PNG of generated images at the best EMA length
    metrics: dict[str, float] = field(default_factory=dict)  # everything measured of the trial, by name

    @property
    def ema_curve(self) -> list[EmaPoint]:
        """The points in the slice of the best score, made by its solver alone."""
        if not self.ema:
            return []
        last = max(p.images for p in self.ema)
        own = [p for p in self.ema if p.images == last and p.solver == self.solver]
        best = min(own, key=lambda p: p.distance, default=None)
        return [p for p in own if best and (p.guidance_weight, p.guide_sigma_rel) == (best.guidance_weight, best.guide_sigma_rel)]

    def measured(self, name: str, metric: str) -> float:
        """A metric of the trial; infinite where it was not measured."""
        value = self.best if name == metric else self.metrics.get(name)
        return math.inf if value is None else value

    @property
    def label(self) -> str:
        """What was varied, short."""
        return ", ".join(f"{path.removesuffix('.kind').rpartition('.')[2]}={short(value)}" for path, value in self.values.items())


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
    importances: dict[str, float]
    trials: list[TrialResult]
    bounds: dict[str, float] = field(default_factory=dict)  # most that a trial may cost, by metric

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
        """Completed trials within all bounds, best first: stopped ones were trained for less and are not compared with them."""
        name, sign = self.objectives[0]
        able = [t for t in self.trials if t.status == "completed" and t.best is not None and self.within_bounds(t)]
        return sorted(able, key=lambda t: sign * t.measured(name, self.metric))

    def within_bounds(self, trial: TrialResult) -> bool:
        return all(trial.metrics.get(name, math.inf) <= bound for name, bound in self.bounds.items())

    @cached_property
    def front(self) -> list[TrialResult]:
        """Ranked trials that no other beats in one objective without losing in another (the Pareto front)."""
        values = {t.number: [sign * t.measured(name, self.metric) for name, sign in self.objectives] for t in self.ranked}
        return [t for t in self.ranked if not any(_dominates(other, values[t.number]) for other in values.values())]


def _dominates(a: list[float], b: list[float]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def load_study_results(uri: str, name: str, samples: bool = True) -> StudyResults:
    """Everything tracked of the study's latest run; a UserError names the studies that there are."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        known = [e.name for e in client.search_experiments() if e.name != "Default"]
        raise UserError(f"study '{name}' has no tracked results. Studies: {', '.join(known) or 'none'}.{did_you_mean(name, known)}")
    studies = client.search_runs([experiment.experiment_id], "tags.`snrlab.kind` = 'study'", order_by=["start_time DESC"], max_results=1)
    if not studies:
        raise UserError(f"study '{name}' was started, but nothing of it has been tracked yet")
    study = studies[0]
    tags = study.data.tags
    runs = _runs(client, experiment.experiment_id, f"tags.`snrlab.study_id` = '{tags['snrlab.study_id']}'")
    metric = tags["snrlab.metric"]
    ema: dict[str, list[EmaPoint]] = {}
    for run in runs:
        if run.data.tags["snrlab.kind"] == "ema" and metric in run.data.metrics:
            ema.setdefault(run.data.tags["snrlab.number"], []).append(_ema_point(run, metric))
    trials = [_trial(client, run, metric, ema) for run in runs if run.data.tags["snrlab.kind"] == "trial"]
    results = StudyResults(
        name=name, study_id=tags["snrlab.study_id"], description=tags.get("mlflow.note.content", ""), metric=metric,
        axes=json.loads(tags["snrlab.space"]), definition=json.loads(tags["snrlab.definition"]),
        commit=tags.get("mlflow.source.git.commit", ""), status=study.info.status,
        importances={k.removeprefix("importance/"): v for k, v in study.data.metrics.items() if k.startswith("importance/")},
        trials=sorted(trials, key=lambda t: t.number), bounds=json.loads(tags.get("snrlab.bounds", "{}")),
    )
    if samples:
        by_number = {t.number: run for t, run in zip(trials, (r for r in runs if r.data.tags["snrlab.kind"] == "trial"), strict=True)}
        for trial in {id(t): t for t in results.ranked[:1] + results.ranked[-1:]}.values():
            trial.samples = _samples(client, by_number[trial.number].info.run_id)
    return results


def _runs(client: MlflowClient, experiment: str, query: str) -> list[Run]:
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs([experiment], query, max_results=_PAGE, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs


def _trial(client: MlflowClient, run: Run, metric: str, ema: dict[str, list[EmaPoint]]) -> TrialResult:
    tags, metrics, params = run.data.tags, run.data.metrics, run.data.params

    def history(key: str) -> list[tuple[int, float]]:
        return sorted({m.step: m.value for m in client.get_metric_history(run.info.run_id, key)}.items()) if key in metrics else []

    curve = history(f"interim_{metric}")
    return TrialResult(
        number=int(tags["snrlab.number"]), variant=tags["snrlab.variant"], seed=int(params.get("seed", 0)),
        status=tags["snrlab.status"], values=json.loads(tags["snrlab.values"]), recipe_key=tags["snrlab.recipe_key"],
        commit=tags.get("mlflow.source.git.commit", ""), reason=tags.get("snrlab.reason", ""), recipe=dict(params),
        images=curve[-1][0] if curve else 0, train_seconds=metrics.get("train_seconds", 0.0),
        best=metrics.get(metric), sigma_rel=metrics.get("sigma_rel"), curve=curve, loss=history("loss"),
        ema=sorted(ema.get(tags["snrlab.number"], []), key=lambda p: p.sigma_rel),
        interval=(metrics["sigma_rel_low"], metrics["sigma_rel_high"]) if "sigma_rel_low" in metrics else None,
        standard_error=metrics.get("standard_error"), solver=tags.get("snrlab.solver", ""),
        optima=json.loads(tags.get("snrlab.optima", "[]")), metrics=dict(metrics),
    )


def _ema_point(run: Run, metric: str) -> EmaPoint:
    tags, metrics = run.data.tags, run.data.metrics
    return EmaPoint(
        json.loads(tags["snrlab.sigma_rel"]), metrics[metric], metrics["profile_error"], metrics.get("standard_error"),
        json.loads(tags["snrlab.images"]), json.loads(tags["snrlab.guidance_weight"]), json.loads(tags["snrlab.guide_sigma_rel"]),
        tags["snrlab.solver"], dict(metrics),
    )


def _samples(client: MlflowClient, run_id: str) -> bytes | None:
    files = client.list_artifacts(run_id, "samples")
    if not files:
        return None
    from pathlib import Path
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run_id, files[0].path, folder)).read_bytes()
