"""A real MLflow server on localhost, reached at an address with a password, which nobody gets to see."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from orchestrator.cli.secret_arguments import without_secrets
from orchestrator.records.definition import recall
from reports.load import load_study_results
from reports.tables import rows
from tests.orchestrator.records.written import write_trial, written_study
from tests.studies import SNRLAB, snrlab

SECRET = "geheim-4711"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address, with a user and a password (which this server does not ask for)."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port), "--backend-store-uri",
               f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://user:{SECRET}@127.0.0.1:{port}"
    finally:
        processes = psutil.Process(process.pid).children(recursive=True)
        for one in (process, *processes):
            one.kill()
        process.wait()


def _files_with_the_secret(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def _processes_with_the_secret() -> list[list[str]]:
    """Arguments of processes that show it, but for those of this test itself."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(SECRET in word for word in process.info["cmdline"] or []):
            found.append(process.info["cmdline"])
    return found


def test_a_study_is_tracked_through_a_server_and_its_password_is_seen_nowhere(server: str, tmp_path: Path) -> None:
    folder, definition = written_study(tmp_path / "runs", search={"trials": 3, "points": [
        {"weighting.gamma": 1.5 + n / 100, "optimiser.lr": 0.01} for n in range(150)]})
    write_trial(folder.trial(3), definition, points=100)
    command = [*SNRLAB, "track", "small", "--tracking-uri", server]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    shown_late, started = [], time.monotonic()
    while process.poll() is None:
        if time.monotonic() - started > 4:  # the address was typed as an argument, and is one for an instant
            shown_late += _processes_with_the_secret()
        time.sleep(0.1)
    output = process.communicate()[0]
    assert process.returncode == 0 and "4 trials are in MLflow (http://user@127.0.0.1" in output, output
    assert SECRET not in output and not shown_late and not _files_with_the_secret(tmp_path)
    results = load_study_results(server, "small", recorded=[0, 1, 2, 3], study_id=recall(folder).id)
    assert [r["trial"] for r in rows(results)] == [0, 1, 2, 3] and not results.missing and len(results.trials[3].optima) == 100
    assert len(results.definition["search"]["points"]) == 150


def test_a_server_that_is_away_is_one_message_within_seconds(tmp_path: Path) -> None:
    written_study(tmp_path / "runs", 1)
    for command in ("results", "report", "track"):
        started = time.monotonic()
        environment = {**os.environ, "SNRLAB_TRACKING_URI": f"http://user:{SECRET}@127.0.0.1:1"}
        done = subprocess.run([*SNRLAB, command, "small"], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 2 and "MLflow does not answer at http://user:***@127.0.0.1:1" in done.stderr, done.stderr
        assert SECRET not in done.stdout + done.stderr and "Traceback" not in done.stderr and time.monotonic() - started < 30


def test_a_tracker_whose_server_is_away_says_so_without_the_password(tmp_path: Path) -> None:
    code = """
import sys, threading
from orchestrator.records.folders import StudyFolder
from orchestrator.records.tracker import Tracker
from pathlib import Path
tracker = Tracker(StudyFolder(Path("runs/small")), sys.stdin.readline().strip(), Path("artifacts"), {})
tracker.start()
threading.Event().wait(9)
tracker._process.kill()
"""
    written_study(tmp_path / "runs", 1)
    address = f"http://user:{SECRET}@127.0.0.1:1\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, input=address, capture_output=True, text=True)
    assert "trying again" in done.stderr and SECRET not in done.stdout + done.stderr and not _files_with_the_secret(tmp_path)


def test_an_error_that_nobody_expected_shows_no_password(tmp_path: Path) -> None:
    code = f"""
import orchestrator.cli.app as cli
@cli.app.command()
def break_down() -> None:
    raise RuntimeError("no answer from http://user:" + "{SECRET[:4]}" + "{SECRET[4:]}@host")
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code, "break-down"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "RuntimeError: no answer from http://user:***@host" in done.stderr and SECRET not in done.stderr


def test_addresses_with_secrets_move_from_the_arguments_to_the_environment() -> None:
    given = ["run", "x.yaml", "--tracking-uri", "http://u:p@h", "--search-storage=postgresql://u:p@h/d", "--set", "a=b"]
    assert without_secrets(given) == (["run", "x.yaml", "--set", "a=b"], {
        "SNRLAB_TRACKING_URI": "http://u:p@h", "SNRLAB_SEARCH_STORAGE": "postgresql://u:p@h/d"})
    plain = ["run", "x.yaml", "--tracking-uri", "http://h:5000", "--search-storage=sqlite:///x"]
    assert without_secrets(plain) == (plain, {})


def test_a_help_text_names_the_variable(tmp_path: Path) -> None:
    assert "SNRLAB_TRACKING_URI" in snrlab("results", "--help", cwd=tmp_path).stdout
