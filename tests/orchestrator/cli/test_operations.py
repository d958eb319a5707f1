"""Looking after studies: status, logs, cancel, further sweeps, the store, the disk."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from orchestrator.execution import checks
from orchestrator.records import events
from orchestrator.records.folders import WorkFolder
from tests.studies import SNRLAB, small_study, snrlab
from trainables.ema.snapshots import list_snapshots
from trainables.errors import UserError


@pytest.fixture(scope="module")
def copy(finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished study, to be changed."""
    target = tmp_path_factory.mktemp("copy") / "folder"
    shutil.copytree(finished[0], target)
    return target


def test_status_of_a_finished_study(finished) -> None:
    shown = snrlab("status", "small", cwd=finished[0])
    assert shown.returncode == 0
    assert shown.stdout.count("completed") == 3 and "3 of 3 trials ended" in shown.stdout and "not running" in shown.stdout
    unknown = snrlab("status", "smal", cwd=finished[0])
    assert unknown.returncode == 2 and "Did you mean 'small'" in unknown.stderr


def test_logs_tell_what_happened(finished) -> None:
    shown = snrlab("logs", "small", "1", cwd=finished[0]).stdout
    assert [word for word in ("training", "completed", "swept") if word in shown] == ["training", "completed", "swept"]
    assert snrlab("logs", "small", "7", cwd=finished[0]).returncode == 2


def test_torn_and_odd_events_do_no_harm(tmp_path: Path) -> None:
    events.note(tmp_path, "warning", message="<b>\n")
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"time": 1, "ev')
    assert len(events.lines(tmp_path)) == 1 and events.lines(tmp_path / "none") == []


def test_a_further_sweep_is_tracked_and_leaves_the_score_alone(copy: Path) -> None:
    before = json.loads(snrlab("results", "small", "--format", "json", cwd=copy).stdout)
    done = snrlab("sweep", "small", "--trial", "1", "--sigma-rel", "0.06:0.2:4", "--time", "0.5", "--save", cwd=copy)
    assert done.returncode == 0, done.stderr
    assert "8 evaluations" in done.stdout and done.stdout.count("best EMA length by fd_probe") == 2
    assert json.loads(snrlab("results", "small", "--format", "json", cwd=copy).stdout) == before
    client = MlflowClient(f"sqlite:///{copy}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("small").experiment_id
    (trial,) = client.search_runs([experiment], "tags.`snrlab.kind` = 'trial' and tags.`snrlab.number` = '1'")
    lengths = json.loads(Path(client.download_artifacts(trial.info.run_id, "ema_lengths.json")).read_text())
    assert len(lengths["data"]) == 2 + 8
    study = client.search_runs([experiment], "tags.`snrlab.kind` = 'study'")[0]
    assert study.info.status == "FINISHED"
    saved = list_snapshots(copy / "runs/small/trials/0001/averages")
    assert len(saved) == 8 and {s.images for s in saved} == {128, 256}
    optimised = snrlab("sweep", "small", "--trial", "0", "--sigma-rel", "0.05:0.2:2", "--optimise", cwd=copy)
    assert optimised.returncode == 0 and "(95 %:" in optimised.stdout, optimised.stderr


@pytest.mark.parametrize(("arguments", "words"), [
    (["--trial", "9"], "no such trial"),
    (["--trial", "0", "--sigma-rel", "0.5"], "1/sqrt(12)"),
    (["--trial", "0", "--sigma-rel", "x"], "is not understood"),
    (["--trial", "0", "--solver", "magic"], "solver"),
])
def test_impossible_sweeps_are_one_message(finished, arguments: list[str], words: str) -> None:
    result = snrlab("sweep", "small", *arguments, cwd=finished[0])
    assert result.returncode == 2 and words in result.stderr and "Traceback" not in result.stderr


def test_the_store_is_shown_checked_and_emptied(copy: Path) -> None:
    assert snrlab("store", "ls", cwd=copy).stdout.count("256 images") == 3
    assert "0 damaged" in snrlab("store", "verify", cwd=copy).stdout
    assert snrlab("store", "gc", "--all", cwd=copy).stdout.startswith("3 entries removed")


@pytest.mark.slow
def test_a_second_study_takes_over_what_the_first_has_trained(copy: Path, finished) -> None:
    shutil.copytree(finished[0] / "runs/store", copy / "runs/store", dirs_exist_ok=True)
    search = {"trials": 1, "sampler": {"kind": "tpe", "startup_trials": 2}}
    (copy / "again.yaml").write_text(yaml.safe_dump(small_study(name="again", search=search)))
    assert snrlab("run", "again.yaml", cwd=copy).returncode == 0
    first, second = (json.loads(snrlab("results", name, "--format", "json", cwd=copy).stdout) for name in ("small", "again"))
    assert first[0]["fd_probe"] == second[0]["fd_probe"]
    assert "reused" in snrlab("logs", "again", "0", cwd=copy).stdout


def test_cancel_stops_a_run_and_run_goes_on_with_it(tmp_path: Path) -> None:
    study = small_study(name="long")
    study["base"] = {**study["base"], "duration": {"images": 64_000, "batch_size": 32}}
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(study))
    driver = subprocess.Popen([*SNRLAB, "run", "long.yaml"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 90
    while not (tmp_path / "runs/long/trials/0000/metrics.jsonl").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert "running" in snrlab("status", "long", cwd=tmp_path).stdout
    assert "has stopped" in snrlab("cancel", "long", cwd=tmp_path).stdout
    _, errors = driver.communicate(timeout=30)
    assert driver.returncode == 130 and "run the same command again" in errors
    assert "is not running" in snrlab("cancel", "long", cwd=tmp_path).stdout


def test_a_full_disk_stops_a_study_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A full disk cannot be had here: what the system reports is replaced.
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 1, 1))
    with pytest.raises(UserError, match=r"0 MiB are free.*free some space"):
        checks.check_disk(WorkFolder(tmp_path), 100 << 20)
