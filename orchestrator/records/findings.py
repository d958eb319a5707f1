"""What studies have found: read from MLflow, written as pages, and attached to each study's run there."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from orchestrator.cluster.addresses import without_password
from orchestrator.records.definition import recall
from orchestrator.records.folders import WorkFolder
from reports.documents import table
from reports.load import load_study_results, study_names
from reports.mlflow_client import connect, when_free
from reports.pages.folder import write_report
from reports.pages.index_page import StudyLine, line_of, write_index
from reports.pages.study_page import write_page
from reports.results import StudyResults
from reports.tables import render, rows, summary_lines
from trainables.errors import UserError
from trainables.files.storage import writable

_TABLE = "results.json"


def load_results(study: str, work: WorkFolder, tracking_uri: str | None, samples: bool = True) -> StudyResults:
    """What MLflow has of the study; where the work folder holds it too, it must be that study, with all of its trials."""
    uri, folder = tracking_address(work, tracking_uri), work.study(study)
    if not folder.definition.exists():
        return load_study_results(uri, study, samples)
    ended = [t.number for t in folder.trials() if t.record.training in ("failed", "infeasible") or t.sweep is not None]
    return load_study_results(uri, study, samples, ended, recall(folder).id)


def load_for_report(study: str, work: WorkFolder, tracking_uri: str | None) -> StudyResults:
    """As `load_results`, but KILLED where MLflow has RUNNING and nobody runs the study: a process that was killed leaves no last word."""
    loaded, folder = load_results(study, work, tracking_uri), work.study(study)
    if loaded.status == "RUNNING" and folder.definition.exists() and not folder.is_held:
        loaded = load_results(study, work, tracking_uri)  # it may have ended meanwhile
        loaded.status = "KILLED" if loaded.status == "RUNNING" else loaded.status
    return loaded


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
    uri = tracking_address(work, tracking_uri)
    page = write_folder(loaded, work, uri)
    attach(loaded, uri)
    return loaded, [*summary_lines(loaded), f"report:        {page}"]


def write_folder(results: StudyResults, work: WorkFolder, uri: str) -> Path:
    """Write the report's folder; returns its first page."""
    first = work.study(results.name).report
    server = without_password(uri).rstrip("/") if uri.startswith("http") else ""
    with writable(first.parent, "move it away"):
        return write_report(results, first.parent, server, "../../index.html" if work.index.exists() else "")


def write_all(work: WorkFolder, tracking_uri: str | None) -> tuple[Path, list[str]]:
    """Write the report of every study that MLflow has, and a page of all of them; that page, and what is wrong with some of them."""
    uri, lines, wrong = tracking_address(work, tracking_uri), [], []
    if not work.index.exists():
        _write_index([], work)  # the studies' pages name it
    for name in study_names(uri):
        try:
            loaded = load_for_report(name, work, tracking_uri)
            page = write_folder(loaded, work, uri)
        except UserError as error:
            lines.append(StudyLine(name, "", f"cannot be shown: {error}"))
            wrong.append(str(error))
            continue
        lines.append(line_of(loaded, str(page.relative_to(work.root))))
        wrong += loaded.warnings
    return _write_index(lines, work), wrong


def _write_index(lines: Sequence[StudyLine], work: WorkFolder) -> Path:
    with writable(work.index, "move it away"):
        return write_index(lines, work.index)


def attach(results: StudyResults, uri: str) -> None:
    """Put the page, as one file, and the table of trials there, in the place of earlier ones; UserError where that cannot be."""
    when_free(uri, lambda: _attach(results, uri))


def _attach(results: StudyResults, uri: str) -> None:
    client, run = connect(uri, patient=True), results.run_id
    with TemporaryDirectory() as folder:
        (Path(folder) / _TABLE).write_text(table(rows(results)))
        (Path(folder) / "results.csv").write_bytes(render(results, "csv"))
        client.log_artifacts(run, folder)
        client.log_artifact(run, str(write_page(results, Path(folder) / "page" / "index.html")), "report")
    client.set_tag(run, "mlflow.loggedArtifacts", json.dumps([{"path": _TABLE, "type": "table"}]))
    if results.ranked and not results.missing:
        best, now = results.ranked[0], int(time.time() * 1000)
        client.set_tag(run, "snrlab.best_trial", f"trial {best.number}: {best.name}"[:5000])
        for name, value in ((f"best_{results.metric}", results.score(best, results.metric)), ("best_sigma_rel", best.sigma_rel)):
            if value is not None:
                client.log_metric(run, name, value, timestamp=now)
