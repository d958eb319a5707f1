"""The process that writes to MLflow: what it does when something is wrong."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from orchestrator.records.folders import StudyFolder
from orchestrator.records.tracker import Tracker
from reports.load import load_study_results
from tests.orchestrator.records.written import written_study
from tests.studies import small_study, snrlab
from trainables.errors import UserError


@pytest.fixture
def untracked(tmp_path: Path) -> StudyFolder:
    """A finished study that MLflow has never heard of."""
    return written_study(tmp_path)[0]


def tracker_of(folder: StudyFolder, uri: str = "") -> Tracker:
    tracker = Tracker(folder, uri or f"sqlite:///{folder.root}/mlflow.db", folder.root / "artifacts", {"macs": 1.0})
    tracker.start()
    return tracker


def runs_of(folder: StudyFolder) -> list:
    client = MlflowClient(f"sqlite:///{folder.root}/mlflow.db")
    return list(client.search_runs([client.get_experiment_by_name("small").experiment_id], max_results=100))


def test_a_killed_process_is_replaced_and_nothing_is_doubled(untracked: StudyFolder) -> None:
    tracker = tracker_of(untracked)
    end = time.monotonic() + 60
    while not list(untracked.root.glob("artifacts/small/*/artifacts/trial.json")) and time.monotonic() < end:
        time.sleep(0.05)
    tracker._process.kill()
    tracker._process.wait()
    tracker.touch(1)  # is lost
    tracker.check()
    tracker.close("FINISHED", {"optimiser.lr": (0.75, 0.5, 0.9)})
    tracker.wait()
    runs = runs_of(untracked)
    assert len(runs) == 1 + 3 and {r.info.status for r in runs} == {"FINISHED"}
    study = next(r for r in runs if r.data.tags["snrlab.kind"] == "study")
    assert study.data.metrics["importance/optimiser.lr"] == 0.75
    results = load_study_results(f"sqlite:///{untracked.root}/mlflow.db", "small")
    assert results.bounds == {"macs": 1.0} and results.importances == {"optimiser.lr": (0.75, 0.5, 0.9)}


def test_it_ends_with_its_driver(untracked: StudyFolder) -> None:
    tracker = tracker_of(untracked)
    child = psutil.Process(tracker._process.pid)
    assert tracker._process.stdin
    tracker._process.stdin.close()
    assert child.wait(timeout=30) is not None


def test_a_request_that_can_never_succeed_is_one_message_at_once(untracked: StudyFolder) -> None:
    tracker = tracker_of(untracked, "nonsense://server")
    started = time.monotonic()
    with pytest.raises(UserError, match=r"MLflow cannot be written.*nonsense"):
        while time.monotonic() - started < 60:
            tracker.check()
            time.sleep(0.1)
    with pytest.raises(UserError, match="nonsense"):
        tracker.wait()


def test_a_wrong_tracking_address_ends_a_run_before_it_has_cost_anything(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(json.dumps(small_study()))
    started = time.monotonic()
    refused = snrlab("run", "small.yaml", "--tracking-uri", "nonsense://server", cwd=tmp_path)
    assert refused.returncode == 2 and "MLflow cannot be written" in refused.stderr and "Traceback" not in refused.stderr, refused.stderr
    assert time.monotonic() - started < 60
