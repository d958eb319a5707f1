"""A cluster of two nodes, one of which is lost in the middle of a search."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from orchestrator.cluster import prepare_environment
from tests.studies import SNRLAB, small_study, snrlab


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


def test_an_address_without_a_cluster_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small_study()))
    run = snrlab("run", "small.yaml", "--address", "127.0.0.1:1", cwd=tmp_path)
    assert run.returncode == 2 and "127.0.0.1:1" in run.stderr and "Traceback" not in run.stderr
