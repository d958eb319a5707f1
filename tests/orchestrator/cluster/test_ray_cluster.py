"""A study starts a Ray of its own unless it is told otherwise, whatever cluster the environment names or the machine runs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from orchestrator.cluster.ray_cluster import cluster_not_used

SCRIPT = """
from orchestrator.cluster.ray_cluster import prepare_environment, ray_cluster
prepare_environment()
from search_spaces.study import Compute
with ray_cluster(Compute(workers=0, concurrent_trials=7), None):
    import ray
    print("CPUs", ray.cluster_resources()["CPU"], "address", ray.get_runtime_context().gcs_address)
"""


def started_with(**environment: str) -> str:
    result = subprocess.run([sys.executable, "-c", SCRIPT], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))


def test_a_cluster_that_is_not_used_is_named_with_the_way_to_use_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cluster_not_used() == ""
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("10.0.0.1:6379\n")
    assert "ray start" in cluster_not_used() and "--address 10.0.0.1:6379" in cluster_not_used()
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.2:6379")
    assert "RAY_ADDRESS" in cluster_not_used() and "--address 10.0.0.2:6379" in cluster_not_used()
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert cluster_not_used() == ""


def test_an_address_in_the_environment_is_not_joined() -> None:
    with tempfile.TemporaryDirectory() as short:  # sockets have short names
        assert "CPUs 8.0" in started_with(RAY_ADDRESS="127.0.0.1:1", RAY_TMPDIR=short)


@pytest.fixture
def head() -> Iterator[str]:
    """The RAY_TMPDIR of a head node that runs."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["start", "--head", "--block", "--port", "0", "--num-cpus", "1", "--include-dashboard", "false", "--disable-usage-stats",
                   "--object-store-memory", str(80 << 20)]
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("ray")), *command], env={**os.environ, "RAY_TMPDIR": folder},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        try:
            end = time.monotonic() + 60
            while not Path(folder, "ray", "ray_current_cluster").exists() and time.monotonic() < end:
                time.sleep(0.1)
            yield folder
        finally:
            for part in [*psutil.Process(process.pid).children(recursive=True), process]:
                part.kill()
            process.wait(timeout=30)


@pytest.mark.slow
def test_a_cluster_on_the_machine_is_not_joined(head: str) -> None:
    address = Path(head, "ray", "ray_current_cluster").read_text().strip()
    shown = started_with(RAY_TMPDIR=head)
    assert "CPUs 8.0" in shown and address not in shown
