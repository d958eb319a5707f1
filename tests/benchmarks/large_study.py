"""A search of many trials as MLflow would hold it, written into its SQLite database at once: no training, and no client's round trips."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np

from reports import documents
from reports.mlflow_client import connect
from search_spaces.study import Study, make_study
from tests.conftest import tiny_fields

LENGTHS = (0.02, 0.03, 0.05, 0.07, 0.1, 0.13, 0.17, 0.2)
_STUDY_ID = "0123456789abcdef"
_FIELDS = {
    "name": "large", "description": "a <b>large</b> study", "base": tiny_fields(weighting="min_snr"),
    "space": {"weighting.gamma": "auto", "optimiser.lr": {"low": 0.005, "high": 0.05, "log": True}, "schedule.kind": ["cosine", "laplace"]},
}


def write_large_study(folder: Path, trials: int = 1000, reports: int = 30) -> str:
    """Trials of some reports and eight EMA lengths each, some stopped or failed; the tracking address."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    study = make_study({**_FIELDS, "search": {"trials": trials}})
    experiment = connect(uri).create_experiment(study.name, artifact_location=(folder / "artifacts").as_uri())
    rng = np.random.default_rng(0)
    content = {
        "study_id": _STUDY_ID, "definition": study.model_dump(mode="json"), "metric": study.metric, "description": study.description,
        "axes": study.axes, "bounds": {}, "importances": {"weighting.gamma": [0.7, 0.5, 0.8], "optimiser.lr": 0.3},
        "trials": list(range(trials)),
    }
    runs = [("study", "study", documents.STUDY, content)]
    runs += [(f"trial{n}", "trial", documents.TRIAL, _trial(study, n, reports, rng)) for n in range(trials)]
    with sqlite3.connect(folder / "mlflow.db") as database:
        for run, kind, name, document in runs:
            _write(database, folder, experiment, run, kind, name, document)
    return uri


def _trial(study: Study, number: int, reports: int, rng: np.random.Generator) -> dict[str, Any]:
    """Its document, as `orchestrator.records.trial_document` writes it."""
    values = {"weighting.gamma": float(rng.uniform(1, 20)), "optimiser.lr": float(10 ** rng.uniform(-2.3, -1.3)),
              "schedule.kind": ["cosine", "laplace"][number % 2]}
    status = "failed" if number % 20 == 19 else "stopped" if number % 5 == 4 else "completed"
    level = float(10 + abs(math.log(values["optimiser.lr"] / 0.02)) * 5 + rng.normal(0, 0.5))
    done = reports if status == "completed" else reports // 3
    images = [1024 * (i + 1) for i in range(done)]
    points = [{
        "sigma_rel": s, "images": images[-1], "guidance_weight": 1.0, "guide_sigma_rel": None, "standard_error": 0.2,
        "profile_error": 0.001, "feature_hash": "ab", "metrics": {study.metric: level * (1 + math.log(s / 0.08) ** 2)},
    } for s in LENGTHS]
    best = min(points, key=lambda p: p["metrics"][study.metric])
    swept = status == "completed"
    costs = {"macs": 1e6, "parameters": 4e4, "sweep_seconds": 3.0, f"floor_{study.metric}": 4.0}
    score = {study.metric: best["metrics"][study.metric], "sigma_rel": best["sigma_rel"], **costs} if swept else {}
    code, versions = {"commit": "c0ffee", "dirty": False}, {"torch": "2.15.0", "snrlab": "0.1.0"}
    machine = {"system": "Linux", "cpu": "a CPU", "cpus": 2, "gpus": []}
    data = {"kind": "digits", "hash": "abc", "images": 1797, "shape": [1, 8, 8], "classes": 10}
    return {
        "study_id": _STUDY_ID, "number": number, "variant": f"{number:012x}", "recipe_key": f"{number:064x}", "values": values,
        "recipe": study.recipe(values).model_dump(mode="json"), "status": status, "reason": "boom" if status == "failed" else "",
        "started": 1e9, "ended": 1e9 + number, "reused": {},
        "curves": {"loss": [[i, 1.0 / math.sqrt(i)] for i in images],
                   f"interim_{study.metric}": [[i, level * (1 + 3e4 / i) * float(rng.uniform(0.95, 1.05))] for i in images]},
        "metrics": {"loss": 0.1, "train_seconds": 10.0, **{f"loss_by_level/log_snr_{x}": 0.5 for x in range(-10, 11)}, **score},
        "sweep": {"points": points, "solver": "robust", "optima": [], "classical": []} if swept else None, "further_sweeps": [],
        "provenance": [{"code": code, "versions": versions, "machine": machine, "data": data, "seed": 0}],
    }


def _write(database: sqlite3.Connection, folder: Path, experiment: str, run: str, kind: str, name: str, content: dict[str, Any]) -> None:
    """A run with its tags, parameters, metrics and document."""
    run_id = hashlib.md5(run.encode()).hexdigest()
    place = folder / "artifacts" / run_id / "artifacts"
    place.mkdir(parents=True)
    text = documents.pack(content)
    (place / name).write_text(text)
    database.execute("insert into runs values (?,?,'UNKNOWN','','','me','FINISHED',1000,2000,'','active',?,?,null)",
                     (run_id, run, place.as_uri(), experiment))
    tags = {"snrlab.kind": kind, "snrlab.study_id": _STUDY_ID, "snrlab.document": hashlib.sha256(text.encode()).hexdigest()}
    database.executemany("insert into tags values (?,?,?)", [(key, value, run_id) for key, value in tags.items()])
    if kind == "study":
        return
    database.executemany("insert into params values (?,?,?)", [(k, v, run_id) for k, v in documents.flatten(content["recipe"]).items()])
    database.executemany("insert into latest_metrics values (?,?,0,0,0,?)", [(k, v, run_id) for k, v in content["metrics"].items()])
    rows = [(key, value, i, run_id, step, 0) for key, curve in content["curves"].items() for i, (step, value) in enumerate(curve)]
    database.executemany("insert into metrics values (?,?,?,?,?,?)", rows)



if __name__ == "__main__":
    import sys

    print(json.dumps({"uri": write_large_study(Path(sys.argv[1]), int(sys.argv[2]))}))
