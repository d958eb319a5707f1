"""What a study has found, attached to its run in MLflow: best score, table of results, report page."""

from __future__ import annotations

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from reports.documents import table
from reports.mlflow_client import connect, when_free
from reports.results import StudyResults
from reports.tables import render, rows
from trainables.files.storage import local_copy

_TABLE = "results.json"


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
