"""A cluster of two nodes, one of which is lost in the middle of a search."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from orchestrator.cluster.ray_cluster import prepare_environment
from orchestrator.records.folders import StudyFolder
from tests.studies import SNRLAB, small_study, snrlab
from trainables.training import metrics_log


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_study_outlives_the_loss_of_a_node(finished, tmp_path: Path) -> None:
    prepare_environment()
    from ray.cluster_utils import Cluster

    folder, _ = finished
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=2)
        (tmp_path / "small.yaml").write_text(yaml.safe_dump(small_study(compute={"workers": 1, "max_failures": 4})))
        driver = subprocess.Popen([*SNRLAB, "run", "small.yaml", "--address", cluster.address], cwd=tmp_path, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 120
        while not (tmp_path / "runs/small/trials/0000/metrics.jsonl").exists() and time.monotonic() < end:
            time.sleep(0.05)
        cluster.remove_node(second, allow_graceful=False)
        out, errors = driver.communicate(timeout=200)
        assert driver.returncode == 0, out + errors
    finally:
        cluster.shutdown()
    ours, theirs = (json.loads(snrlab("results", "small", "--format", "json", cwd=f).stdout) for f in (tmp_path, folder))
    assert [r["fd_probe"] for r in ours] == [r["fd_probe"] for r in theirs]


@pytest.fixture(scope="module")
def two_cpus() -> Iterator[str]:
    """Address of a cluster of one node with two CPUs."""
    prepare_environment()
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield cluster.address
    cluster.shutdown()


@pytest.mark.slow
def test_two_cpus_suffice_and_a_stopped_trial_gives_its_group_back_at_once(two_cpus: str, tmp_path: Path) -> None:
    search = {"trials": 6, "sampler": "random", "early_stopping": {"kind": "asha", "grace_images": 128, "reduction_factor": 2}}
    study = small_study(search=search, compute={"workers": 1}, sweep={"sigma_rels": [0.05, 0.12], "tasks": 2})
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(study))
    run = snrlab("run", "small.yaml", "--address", two_cpus, cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    trials = StudyFolder(tmp_path / "runs/small").trials()
    pairs = [(a, b) for a, b in itertools.pairwise(trials) if a.record.training == "stopped"]
    assert pairs
    for stopped, following in pairs:
        first_step = (following.root / "recipe.json").stat().st_mtime
        assert first_step - metrics_log.read(stopped.root)[-1]["time"] < 2


@pytest.mark.slow
@pytest.mark.parametrize(("compute", "words"), [
    ({"workers": 2}, "Ray has 2 CPUs, but this study needs 3"),
    ({"workers": 1, "gpus_per_worker": 0.5}, "Ray has 0 GPUs, but this study needs 1"),
])
def test_a_study_that_could_never_be_seated_is_refused(two_cpus: str, tmp_path: Path, compute: dict, words: str) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small_study(compute=compute)))
    refused = snrlab("run", "small.yaml", "--address", two_cpus, cwd=tmp_path)
    assert refused.returncode == 2 and words in refused.stderr and "Traceback" not in refused.stderr, refused.stderr


@pytest.mark.slow
def test_a_worker_that_hangs_is_restarted_and_then_its_trial_fails_and_the_search_goes_on(two_cpus: str, tmp_path: Path) -> None:
    hanging, whole = str(tmp_path / "nobody-writes.arrow"), str(tmp_path / "digits.arrow")
    os.mkfifo(hanging)  # whoever opens it waits for ever
    assert snrlab("data", "import", "{kind: digits}", "--output", whole, cwd=tmp_path).returncode == 0
    study = small_study(compute={"workers": 1, "hang_minutes": 0.5, "max_failures": 1}, search={"trials": 2, "sampler": {"kind": "grid"}})
    study["base"] = {**study["base"], "data": {"kind": "arrow", "path": whole}}
    study["space"] = {"data.path": {"choices": [hanging, whole]}}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(study))
    run = snrlab("run", "small.yaml", "--address", two_cpus, cwd=tmp_path)
    assert run.returncode == 3, run.stdout + run.stderr
    records = {t.record.training: t.record for t in StudyFolder(tmp_path / "runs/small").trials()}
    assert set(records) == {"failed", "completed"} and "no news of the workers for 0.5 minutes" in records["failed"].reason


def test_an_address_without_a_cluster_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small_study()))
    run = snrlab("run", "small.yaml", "--address", "127.0.0.1:1", cwd=tmp_path)
    assert run.returncode == 2 and "127.0.0.1:1" in run.stderr and "Traceback" not in run.stderr
