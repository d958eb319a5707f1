"""Reads the results of a study from MLflow, and from nothing else."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from reports.documents import SHEETS, STUDY, TRIAL, flatten, unpack, with_interval
from reports.mlflow_client import connect, knock, when_free
from reports.results import SHEET_TITLES, ClassicalPoint, EmaPoint, Sheet, StudyResults, TrialResult, track_again
from reports.variants import ablation_of
from search_spaces.versions import up_to_date
from trainables.errors import UserError, did_you_mean
from trainables.secrets import redact

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_PAGE = 1000
_MOST_PICTURES = 8  # of generated images, side by side


def load_study_results(uri: str, name: str, samples: bool = True, recorded: Collection[int] = (),
                       study_id: str = "") -> StudyResults:
    """Everything tracked of a study: of the one with this id, or of the latest of that name; `recorded` trials should be there.

    UserError where there is no such study (it names those that there are), where the server does not answer, and where what it
    holds is damaged.
    """
    knock(uri)
    return when_free(uri, lambda: _load(connect(uri, patient=True), uri, name, samples, recorded, study_id))


def study_names(uri: str) -> list[str]:
    """Of all studies that a server or a database has, in alphabetical order."""
    knock(uri)
    found = when_free(uri, lambda: connect(uri, patient=True).search_experiments())
    return sorted(experiment.name for experiment in found if experiment.name != "Default")


def _load(client: MlflowClient, uri: str, name: str, samples: bool, recorded: Collection[int], study_id: str) -> StudyResults:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        known = [e.name for e in client.search_experiments() if e.name != "Default"]
        if study_id:
            raise UserError(f"study '{name}' has not been written to MLflow at {redact(uri)}; write it with: {track_again(name)}")
        raise UserError(f"study '{name}' has no tracked results. Studies: {', '.join(known) or 'none'}.{did_you_mean(name, known)}")
    query = "tags.`snrlab.kind` = 'study'" + (f" and tags.`snrlab.study_id` = '{study_id}'" if study_id else "")
    studies = client.search_runs([experiment.experiment_id], query, order_by=["start_time DESC"], max_results=1)
    if not studies:
        raise UserError(f"study '{name}' has not been written to MLflow at {redact(uri)}; write it with: {track_again(name)}")
    study, files = studies[0], _Artifacts(uri, name)
    content = files.document(study, STUDY)
    study_id = content["study_id"]
    runs = _runs(client, experiment.experiment_id, f"tags.`snrlab.study_id` = '{study_id}' and tags.`snrlab.kind` = 'trial'")
    trials: dict[int, TrialResult] = {}
    by_number: dict[int, Run] = {}
    for run in runs:
        if "snrlab.document" in run.data.tags:  # else its first words are just being written
            trial = _trial(run, files.document(run, TRIAL), content["metric"], name)
            trial.run_id = run.info.run_id
            trials[trial.number], by_number[trial.number] = trial, run
    results = StudyResults(
        name=name, study_id=study_id, description=content["description"], metric=content["metric"], axes=content["axes"],
        definition=up_to_date({"version": content.get("version", 1), **content["definition"]}, f"study {name}"),
        commit=study.data.tags.get("mlflow.source.git.commit", ""), status=study.info.status,
        importances={path: with_interval(found) for path, found in content["importances"].items()},
        trials=[trials[n] for n in sorted(trials)], bounds=content["bounds"],
        stages=content.get("stages", []),
        missing=sorted({*content["trials"], *recorded} - trials.keys()), run_id=study.info.run_id, experiment_id=experiment.experiment_id,
    )
    if samples:
        for trial in _pictured(results):
            trial.samples = files.samples(by_number[trial.number])
            trial.sheets = files.sheets(by_number[trial.number], trial.sheets)
    return results


def _pictured(results: StudyResults) -> list[TrialResult]:
    """Whose pictures are compared: a seed of each variant of a design, or the best trials and the worst of a search."""
    if ablation := ablation_of(results):
        found = [next((t for t in v.trials if t.status == "completed" and t.best is not None), None) for v in ablation.variants]
        return [t for t in found if t][:_MOST_PICTURES]
    return results.ranked[: _MOST_PICTURES - 1] + results.ranked[_MOST_PICTURES - 1 :][-1:]


def _runs(client: MlflowClient, experiment: str, query: str) -> list[Run]:
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs([experiment], query, max_results=_PAGE, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs


class _Artifacts:
    """Files of runs; each read is one request."""

    def __init__(self, uri: str, study: str) -> None:
        self._uri, self._study = uri, study

    def document(self, run: Run, name: str) -> dict[str, Any]:
        """UserError where it is missing or damaged."""
        try:
            return unpack(self._read(run, name).decode())
        except Exception as error:  # each kind of artifact storage has errors of its own
            where = f"{redact(run.info.artifact_uri)}/{name}"
            what = str(error) if isinstance(error, ValueError) else "it is missing, or cannot be read"
            raise UserError(f"{where}: {what}; write it again with: {track_again(self._study)}") from None

    def samples(self, run: Run) -> bytes | None:
        """PNG of the images generated at a trial's best EMA length; None where there is none."""
        files = self._of(run).list_artifacts("samples")
        return self._read(run, files[0].path) if files else None

    def sheets(self, run: Run, known: Sequence[Sheet]) -> list[Sheet]:
        """With their pictures, where they are there."""
        there = {file.path for file in self._of(run).list_artifacts(SHEETS)} if known else set()
        return [replace(sheet, png=self._read(run, path)) for sheet in known if (path := f"{SHEETS}/{sheet.name}.png") in there]

    def _read(self, run: Run, name: str) -> bytes:
        address = urlsplit(run.info.artifact_uri)
        if address.scheme == "file":  # a thousand of them in a second, without copies
            return (Path(url2pathname(address.path)) / name).read_bytes()
        with TemporaryDirectory() as folder:
            return Path(self._of(run).download_artifacts(name, folder)).read_bytes()

    def _of(self, run: Run) -> Any:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(run.info.artifact_uri, tracking_uri=self._uri)


def _trial(run: Run, content: dict[str, Any], metric: str, study: str) -> TrialResult:
    """A trial from its document; UserError where its run shows another score."""
    number, numbers, sweep = content["number"], content["metrics"], content["sweep"] or {}
    shown = run.data.metrics.get(metric)
    if shown is not None and metric in numbers and not math.isclose(shown, numbers[metric], rel_tol=1e-12):
        raise UserError(
            f"trial {number}: MLflow shows {metric} {shown:g}, but its document says {numbers[metric]:g}: one of them is damaged; "
            f"write it again with: {track_again(study)}"
        )
    curves = {name: [(int(images), value) for images, value in points] for name, points in content["curves"].items()}
    curve = curves.get(f"interim_{metric}", [])
    recipe = flatten(content["recipe"])
    points = [_ema_point(point, s["solver"], metric) for s in [sweep, *content["further_sweeps"]] if s for point in s["points"]]
    return TrialResult(
        number=number, variant=content["variant"], seed=int(recipe.get("seed", 0)), status=content["status"], values=content["values"],
        recipe_key=content["recipe_key"], commit=run.data.tags.get("mlflow.source.git.commit", ""), reason=content["reason"], recipe=recipe,
        images=curve[-1][0] if curve else 0, train_seconds=numbers.get("train_seconds", 0.0), best=numbers.get(metric),
        sigma_rel=numbers.get("sigma_rel"), curve=curve, loss=curves.get("loss", []),
        ema=sorted((p for p in points if p), key=lambda p: p.sigma_rel),
        classical=[_classical_point(row, metric) for row in sweep.get("classical", []) if metric in row["metrics"]],
        interval=(numbers["sigma_rel_low"], numbers["sigma_rel_high"]) if "sigma_rel_low" in numbers else None,
        standard_error=numbers.get("standard_error"), solver=sweep.get("solver", ""), optima=sweep.get("optima", []), metrics=numbers,
        reused=content["reused"], provenance=content["provenance"], experts=sweep.get("experts") or {},
        stages=sweep.get("stages") or [], densities=_densities(curves), started=content.get("started") or 0.0,
        ended=content.get("ended") or 0.0,
        sheets=[Sheet(name, rows) for name, rows in sweep.get("sheets", {}).items() if name in SHEET_TITLES],
    )


def _densities(curves: Mapping[str, Sequence[tuple[int, float]]]) -> dict[int, list[float]]:
    """By images, the cells of a learned density in order."""
    found: dict[int, list[float]] = {}
    for name in sorted(curves):
        if name.startswith("density/"):
            for images, value in curves[name]:
                found.setdefault(images, []).append(value)
    return found


def _ema_point(point: dict[str, Any], solver: str, metric: str) -> EmaPoint | None:
    """None where the metric was not finite there."""
    if metric not in point["metrics"]:
        return None
    return EmaPoint(
        point["sigma_rel"], point["metrics"][metric], point.get("profile_error"), point["standard_error"], point["images"],
        point["guidance_weight"], point["guide_sigma_rel"], solver, point["metrics"], point.get("feature_hash", ""),
    )


def _classical_point(row: dict[str, Any], metric: str) -> ClassicalPoint:
    return ClassicalPoint(
        row["name"], row["sigma_rel"], row["metrics"][metric], row["standard_error"], row["images"], row["guidance_weight"],
        row["guide_sigma_rel"],
    )
