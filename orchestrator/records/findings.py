"""What a study has found: read from MLflow, written as a page, and attached to the study's run there."""

from __future__ import annotations

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from orchestrator.records.definition import recall
from orchestrator.records.folders import WorkFolder
from reports.documents import table
from reports.load import load_study_results
from reports.mlflow_client import connect, when_free
from reports.page import write_page
from reports.results import StudyResults
from reports.tables import render, rows, summary_lines
from trainables.errors import UserError
from trainables.files.storage import local_copy

_TABLE = "results.json"


def load_results(study: str, work: WorkFolder, tracking_uri: str | None, samples: bool = True) -> StudyResults:
    """What MLflow has of the study; where the work folder holds it too, it must be that study, with all of its trials."""
    uri, folder = tracking_address(work, tracking_uri), work.study(study)
    if not folder.definition.exists():
        return load_study_results(uri, study, samples)
    ended = [t.number for t in folder.trials() if t.record.training in ("failed", "infeasible") or t.sweep is not None]
    return load_study_results(uri, study, samples, ended, recall(folder).id)


def tracking_address(work: WorkFolder, tracking_uri: str | None) -> str:
    """Of MLflow, which has results of the folder; UserError where it has none."""
    if tracking_uri:
        return tracking_uri
    uri = work.tracking_uri
    if not (work.root / "mlflow.db").exists():
        if any(work.root.glob("*/study.json")):
            raise UserError(f"{work.root}: MLflow's database is gone; write it again with: snrlab track STUDY")
        raise UserError(f"{work.root}: holds no results yet; run a study first, or name its folder with --workdir")
    return uri


def conclude(study: str, work: WorkFolder, tracking_uri: str | None) -> tuple[StudyResults, list[str]]:
    """Write the report and attach it to the study's run; the results, and what was found in a few lines."""
    loaded = load_results(study, work, tracking_uri)
    page = write_page(loaded, work.study(study).report)
    attach(loaded, page, tracking_address(work, tracking_uri))
    return loaded, [*summary_lines(loaded), f"report:        {page}"]


def attach(results: StudyResults, page: Path, uri: str) -> None:
    """Put them there, in the place of earlier ones; UserError where that cannot be."""
    when_free(uri, lambda: _attach(results, page, uri))


def _attach(results: StudyResults, page: Path, uri: str) -> None:
    client, run = connect(uri, patient=True), results.run_id
    with TemporaryDirectory() as folder:
        (Path(folder) / _TABLE).write_text(table(rows(results)))
        (Path(folder) / "results.csv").write_bytes(render(results, "csv"))
        client.log_artifacts(run, folder)
    with local_copy(page) as file:
        client.log_artifact(run, str(file), "report")
    client.set_tag(run, "mlflow.loggedArtifacts", json.dumps([{"path": _TABLE, "type": "table"}]))
    if results.ranked and not results.missing:
        best, now = results.ranked[0], int(time.time() * 1000)
        client.set_tag(run, "snrlab.best_trial", f"trial {best.number}: {best.name}"[:5000])
        for name, value in ((f"best_{results.metric}", results.score(best, results.metric)), ("best_sigma_rel", best.sigma_rel)):
            if value is not None:
                client.log_metric(run, name, value, timestamp=now)
