"""A study's folder as a run leaves it, written in a moment instead of trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.records import provenance
from orchestrator.records.definition import Definition, define
from orchestrator.records.folders import StudyFolder, SweepRecord, TrialFolder, TrialRecord
from search_spaces.study import make_study
from tests.studies import small_study
from trainables.training import metrics_log


def written_study(work: Path, trials: int = 3, **changes: Any) -> tuple[StudyFolder, Definition]:
    """Trials 0, 1, ... of the small study: completed, with two EMA lengths each."""
    folder = StudyFolder(work / str(changes.get("name", "small")))
    definition = define(make_study(small_study(**changes)), folder)
    for number in range(trials):
        write_trial(folder.trial(number), definition)
    return folder, definition


def write_trial(folder: TrialFolder, definition: Definition, training: str = "completed", points: int = 2, **fields: Any) -> None:
    number = folder.number
    values = {"weighting.gamma": 2.5 + number, "optimiser.lr": 0.01234 + 0.01 * (number % 3)}
    recipe = definition.study.recipe(values)
    record = TrialRecord(number, values, recipe.key, recipe.variant_key, started=1e9 + number, ended=1e9 + number + 5, **fields)
    record.training = training  # type: ignore[assignment]
    folder.write_record(record)
    if training == "infeasible":
        return
    for images in (128, 256):
        metrics_log.append(folder.root, {
            "images": images, "time": 1e9 + number + images / 100, "feature_hash": "a" * 64, "loss": 1.0 / images,
            "interim_fd_probe": 900.0 / images + number, "train_seconds": images / 256, "images_per_second": 256.0,
        })
    provenance.write(folder.root, recipe)
    if training in ("completed", "stopped"):
        folder.write_sweep(SweepRecord(
            "fd_probe", [_point(number, 0.05 + 0.07 * n) for n in range(points)], [_optimum(n) for n in range(points)],
            {"macs": 1e6, "train_seconds": 1.25}, points, 0.5,
        ))


def _point(number: int, sigma_rel: float) -> dict[str, Any]:
    score = 10.0 / (number + 1) + sigma_rel
    return {
        "sigma_rel": sigma_rel, "images": 256, "guidance_weight": 1.0, "guide_sigma_rel": None, "distance": score, "standard_error": 0.1,
        "profile_error": 0.0, "drift_error": 0.0, "coefficient_norm": 1.0, "storage_error": 0.0, "metrics": {"fd_probe": score},
    }


def _optimum(number: int) -> dict[str, Any]:
    return {"images": 256 + number, "guidance_weight": 1.0, "guide_sigma_rel": None, "metric": "fd_probe", "sigma_rel": 0.1,
            "low": 0.08, "high": 0.12}
