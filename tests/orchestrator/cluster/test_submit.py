"""What a job on a cluster is given: no password in its command, and a word about files that the cluster may not see."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import ray.job_submission
from typer.testing import CliRunner

from orchestrator.cli.app import app


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the job server is sent; there is none here."""
    sent: dict[str, Any] = {}

    class Client:
        def __init__(self, address: str) -> None:
            sent["address"] = os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS") or address

        def submit_job(self, entrypoint: str, runtime_env: dict[str, Any]) -> str:
            study = (Path(runtime_env["working_dir"]) / "study.yaml").read_text()
            sent.update(entrypoint=entrypoint, environment=runtime_env["env_vars"], study=study)
            return "job-1"

    monkeypatch.setattr(ray.job_submission, "JobSubmissionClient", Client)
    return sent


def test_passwords_go_into_the_environment_of_a_job_and_not_into_its_command(job: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.9:6379")  # another cluster than the one asked for
    shown = CliRunner().invoke(app, [
        "submit", "quickstart", "--address", "http://head:8265", "--workdir", "/shared/runs", "--set", "search.trials=3",
        "--tracking-uri", "http://me:geheim@mlflow:5000", "--search-storage", "postgresql://me:secret@db/optuna",
    ])
    assert shown.exit_code == 0 and "job-1" in shown.output
    assert job["address"] == "http://head:8265"
    seen = job["entrypoint"] + job["study"] + shown.output
    assert "geheim" not in seen and "secret" not in seen
    assert job["environment"] == {
        "SNRLAB_TRACKING_URI": "http://me:geheim@mlflow:5000", "SNRLAB_SEARCH_STORAGE": "postgresql://me:secret@db/optuna"
    }
    assert "--workdir /shared/runs" in job["entrypoint"] and "trials: 3" in job["study"]


def test_files_of_this_machine_are_named(job: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fields = {"name": "s", "base": {"data": {"kind": "arrow", "path": "a.arrow"}}, "space": {"data.path": ["a.arrow", "b.arrow"]}}
    (tmp_path / "s.yaml").write_text(json.dumps(fields))
    shown = CliRunner().invoke(app, ["submit", "s.yaml", "--address", "http://head:8265", "--workdir", "/shared/runs"])
    assert shown.exit_code == 0, shown.output
    for name in ("a.arrow", "b.arrow"):
        assert f"must see {tmp_path / name}" in shown.output and str(tmp_path / name) in job["study"]
