"""A study from file to report, through the command line, with nothing replaced."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from mlflow import MlflowClient

from orchestrator.records.folders import WorkFolder
from tests.studies import SNRLAB, small_study, snrlab


def test_run_ends_with_best_variant_report_and_mlflow_command(finished) -> None:
    folder, run = finished
    assert run.returncode == 0, run.stderr
    assert "best variant:  trial" in run.stdout and "3 completed" in run.stdout
    assert f"report:        {folder}/runs/small/report/index.html" in run.stdout
    assert "ui --workdir runs" in run.stdout
    report = folder / "runs/small/report"
    assert (report / "index.html").exists() and len(list((report / "trials").iterdir())) == 3 and (report / "data/ema.svg").exists()


def test_mlflow_holds_study_trials_and_ema_lengths(finished) -> None:
    folder, _ = finished
    client = MlflowClient(f"sqlite:///{folder}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("small")
    runs = client.search_runs([experiment.experiment_id], max_results=100)
    by_kind = {kind: [r for r in runs if r.data.tags["snrlab.kind"] == kind] for kind in ("study", "trial")}
    assert [len(by_kind[k]) for k in ("study", "trial")] == [1, 3] and len(runs) == 4
    assert all(r.info.status == "FINISHED" for r in runs)
    parent = by_kind["study"][0].info.run_id
    for trial in by_kind["trial"]:
        assert trial.data.tags["mlflow.parentRunId"] == parent
        lengths = client.get_metric_history(trial.info.run_id, "by_ema_length/fd_probe")
        assert len(lengths) == 2 and trial.data.metrics["fd_probe"] == min(m.value for m in lengths)
        assert trial.data.params["weighting.gamma"] == trial.data.params["searched/weighting.gamma"]
        assert len(trial.data.params) > 30 and trial.data.tags["snrlab.recipe_key"]
        history = client.get_metric_history(trial.info.run_id, "interim_fd_probe")
        assert sorted(m.step for m in history) == [128, 256]
        assert client.list_artifacts(trial.info.run_id, "samples")
        assert [file.path for file in client.list_artifacts(trial.info.run_id, "sheets")] == ["sheets/ema_lengths.png"]
        kinds = {name.split("/")[0] for name in trial.data.metrics}
        assert {"loss", "loss_by_level", "grad_norm", "grad_cosine", "weight_rms", "activation_rms", "density"} <= kinds
    assert {"results.json", "results.csv", "report", "study.json", "small.yaml"} <= {f.path for f in client.list_artifacts(parent)}
    assert by_kind["study"][0].data.metrics["best_fd_probe"] == min(r.data.metrics["fd_probe"] for r in by_kind["trial"])
    ranked = client.search_runs([experiment.experiment_id], "metrics.fd_probe > 0 and tags.`snrlab.kind` = 'trial'",
                                order_by=["metrics.fd_probe ASC"])
    assert [r.data.metrics["fd_probe"] for r in ranked] == sorted(r.data.metrics["fd_probe"] for r in ranked)


def test_trials_follow_each_other_on_one_warm_group(finished) -> None:
    folder, _ = finished
    records = [WorkFolder(folder / "runs").study("small").trial(n).record for n in range(3)]
    for earlier, later in itertools.pairwise(records):
        assert later.started - earlier.ended < 5  # a new group would cost some 20 s


def test_results_in_every_format(finished, tmp_path: Path) -> None:
    folder, _ = finished
    rows = json.loads(snrlab("results", "small", "--format", "json", cwd=folder).stdout)
    wanted = {"trial", "variant", "seed", "status", "weighting.gamma", "optimiser.lr", "fd_probe", "sigma_rel", "images",
              "train_seconds", "recipe_key"}
    further = {"classical", "reused", "cannot_be_reproduced_from_commit", "provenance"}
    assert [r["trial"] for r in rows] == [0, 1, 2] and set(rows[0]) == wanted | further and rows[0]["images"] == 256
    text = list(csv.DictReader(io.StringIO(snrlab("results", "small", "--format", "csv", cwd=folder).stdout)))
    assert [float(r["fd_probe"]) for r in text] == [r["fd_probe"] for r in rows]
    assert snrlab("results", "small", "--format", "parquet", "--output", str(tmp_path / "r.parquet"), cwd=folder).returncode == 0
    assert pq.read_table(tmp_path / "r.parquet").to_pylist() == [{key: row[key] for key in row if key in wanted} for row in rows]
    assert "completed" in snrlab("results", "small", cwd=folder).stdout


def test_a_second_run_does_nothing_and_says_the_same(finished) -> None:
    folder, first = finished
    started = time.monotonic()
    again = snrlab("run", "small.yaml", cwd=folder)
    assert again.returncode == 0 and "complete already" in again.stdout
    assert time.monotonic() - started < 60
    assert [line for line in again.stdout.splitlines() if "fd_probe" in line] == [
        line for line in first.stdout.splitlines() if line.startswith("               fd_probe")]


def test_what_mlflow_missed_is_made_up_without_training(finished, tmp_path: Path) -> None:
    folder, _ = finished
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    expected = json.loads(snrlab("results", "small", "--format", "json", cwd=folder).stdout)
    for path in copy.glob("runs/mlflow*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    again = snrlab("run", "small.yaml", cwd=copy)
    assert again.returncode == 0 and "Ray is up" not in again.stdout, again.stderr
    assert json.loads(snrlab("results", "small", "--format", "json", cwd=copy).stdout) == expected


def test_the_same_study_elsewhere_gives_the_same_numbers(finished, tmp_path: Path) -> None:
    folder, _ = finished
    rows = json.loads(snrlab("results", "small", "--format", "json", cwd=folder).stdout)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small_study(compute={"workers": 0})))
    assert snrlab("run", "small.yaml", cwd=tmp_path).returncode == 0
    others = json.loads(snrlab("results", "small", "--format", "json", cwd=tmp_path).stdout)
    for ours, theirs in zip(rows, others, strict=True):
        assert {k: v for k, v in ours.items() if k != "train_seconds"} == {k: v for k, v in theirs.items() if k != "train_seconds"}


def test_a_changed_study_is_refused_with_its_differences_and_more_trials_are_not(finished) -> None:
    folder, _ = finished
    refused = snrlab("run", "small.yaml", "--set", "base.seed=5", cwd=folder)
    assert refused.returncode == 2 and "base.seed: 0 -> 5" in refused.stderr and "would mix" in refused.stderr
    plan = snrlab("plan", "small.yaml", "--set", "search.trials=5", cwd=folder)
    assert plan.returncode == 0 and "5 trials" in plan.stdout and "parameters" in plan.stdout


@pytest.mark.slow
def test_interrupted_and_killed_runs_go_on_without_loss(finished, tmp_path: Path) -> None:
    folder, _ = finished
    expected = json.loads(snrlab("results", "small", "--format", "json", cwd=folder).stdout)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small_study()))
    for trial, how in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGKILL)):
        driver = subprocess.Popen([*SNRLAB, "run", "small.yaml"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  start_new_session=True)
        _wait_until_training(tmp_path / "runs/small/trials", trial)
        driver.send_signal(how)
        _, stderr = driver.communicate(timeout=60)
        if how != signal.SIGKILL:
            assert driver.returncode == 130 and "run the same command again" in stderr
        else:
            subprocess.run(["pkill", "-9", "-s", str(driver.pid)], check=False)
    final = snrlab("run", "small.yaml", cwd=tmp_path)
    assert final.returncode == 0, final.stderr
    rows = json.loads(snrlab("results", "small", "--format", "json", cwd=tmp_path).stdout)
    assert [(r["trial"], r["fd_probe"], r["recipe_key"]) for r in rows] == [(r["trial"], r["fd_probe"], r["recipe_key"]) for r in expected]


def _wait_until_training(trials: Path, number: int) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if (trials / f"{number:04d}" / "metrics.jsonl").exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"trial {number} did not begin")


def test_failed_trials_are_told_apart(tmp_path: Path) -> None:
    study = small_study(name="failing", space={"network.mult": {"choices": ["x"]}})
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(study))
    assert snrlab("run", "bad.yaml", cwd=tmp_path).returncode == 2
    study = small_study(name="failing", search={"trials": 2}, space={"network.channels_per_head": [8, 16]})
    study["base"] = {**study["base"], "max_nonfinite_steps": 0, "optimiser": {"lr": 1e30}}
    (tmp_path / "failing.yaml").write_text(yaml.safe_dump(study))
    run = snrlab("run", "failing.yaml", cwd=tmp_path)
    assert run.returncode == 3, run.stdout + run.stderr
    assert "non-finite loss" in run.stdout and "2 failed" in run.stdout
    rows = json.loads(snrlab("results", "failing", "--format", "json", cwd=tmp_path).stdout)
    assert [r["status"] for r in rows] == ["failed", "failed"] and rows[0]["fd_probe"] is None


@pytest.mark.parametrize(("arguments", "words"), [
    (["run", "quickstrat"], "Did you mean 'quickstart'"),
    (["run", "quickstart", "--set", "search.trails=2"], "Did you mean 'trials'"),
    (["run", "quickstart", "--set", "nonsense"], "path=value"),
    (["results", "none"], "holds no results yet"),
    (["results", "none", "--format", "xml"], "Allowed: table, json, csv, parquet"),
    (["report", "none"], "holds no results yet"),
    (["run", "quickstart", "--workdir", "/dev/null/x"], "cannot be made"),
    (["frobnicate"], "No such command"),
])
def test_bad_usage_is_one_message_and_exit_code_2(arguments: list[str], words: str, tmp_path: Path) -> None:
    result = snrlab(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert words in result.stderr and "Traceback" not in result.stderr


def test_ui_listens_on_localhost_and_shows_the_trials(finished) -> None:
    import socket
    import urllib.request

    folder, _ = finished
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([*SNRLAB, "ui", "--port", str(port)], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              start_new_session=True)
    try:
        body = json.dumps({"experiment_ids": ["1"], "filter": "tags.`snrlab.kind` = 'trial'", "order_by": ["metrics.fd_probe ASC"]})
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/search", body.encode(),
                                         {"Content-Type": "application/json"})
        for _ in range(120):
            try:
                answer = json.load(urllib.request.urlopen(request, timeout=5))
                break
            except OSError:
                time.sleep(0.5)
        assert len(answer["runs"]) == 3
        best = answer["runs"][0]["info"]["run_id"]
        listing = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/api/2.0/mlflow/artifacts/list?run_id={best}&path=samples"))
        picture = f"http://127.0.0.1:{port}/get-artifact?run_uuid={best}&path={listing['files'][0]['path']}"
        assert urllib.request.urlopen(picture).read(4) == b"\x89PNG"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=20)
