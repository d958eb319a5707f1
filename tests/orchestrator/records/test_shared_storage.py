"""A work folder in S3-compatible storage, with a real server of that protocol (moto); leases where there are no locks."""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from filelock import Timeout

from orchestrator.records import locks
from orchestrator.records.folders import StudyFolder, WorkFolder
from orchestrator.records.store import Store
from orchestrator.search.journal import ObjectJournal
from tests.conftest import tiny_fields
from tests.studies import SNRLAB, small_study, snrlab
from trainables.ema.snapshots import list_snapshots
from trainables.errors import UserError
from trainables.files.storage import place
from trainables.recipe import make_recipe
from trainables.stage_key import stage_key
from trainables.training import checkpoint, metrics_log
from trainables.training.loop import train


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """URL of an empty bucket; the server is found through the environment, as on a cluster."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    settings = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
                "MLFLOW_S3_ENDPOINT_URL": url}
    code = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            end = time.monotonic() + 60
            while time.monotonic() < end:
                with socket.socket() as client:
                    if client.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            place("s3://snrlab").mkdir()
            yield "s3://snrlab"
        finally:
            server.kill()
            server.wait()


def test_a_run_in_a_bucket_leaves_the_same_weights_and_is_kept_and_taken_over(bucket: str, tmp_path: Path, cache: Path) -> None:
    recipe = make_recipe(tiny_fields())
    there, here, other = place(f"{bucket}/there"), tmp_path / "here", place(f"{bucket}/other")
    for _ in itertools.islice(train(recipe, there, cache), 1):
        pass  # and stop early
    for folder in (there, here):
        list(train(recipe, folder, cache))
    store = Store(place(f"{bucket}/store"))
    key = stage_key(recipe, cache)
    store.keep(key, recipe, there)
    assert store.take(key, recipe, other) == 256 and store.verify() == {} and [e.images for e in store.entries()] == [256]
    wanted = [s.file.checksums for s in list_snapshots(here / "snapshots")]
    assert all([s.file.checksums for s in list_snapshots(folder / "snapshots")] == wanted for folder in (there, other))
    assert [r["loss"] for r in metrics_log.read(there)] == [r["loss"] for r in metrics_log.read(here)] and checkpoint.images(other) == 256
    assert len(store.collect_garbage()) == 1 and store.entries() == []  # copies are shared with nobody


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_study_in_a_bucket_gives_the_same_numbers_and_goes_on_after_a_kill(finished, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small_study()))
    options = ("--workdir", f"{bucket}/runs", "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db")
    folder = WorkFolder(place(f"{bucket}/runs")).study("small")
    driver = subprocess.Popen([*SNRLAB, "run", "small.yaml", *options], cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True)
    end = time.monotonic() + 120
    while not (folder.trial(1).root / "metrics.jsonl").exists() and time.monotonic() < end:
        time.sleep(0.2)
    subprocess.run(["pkill", "-9", "-s", str(driver.pid)], check=False)
    driver.wait()
    begun = folder.trial(0).record.started
    again = snrlab("run", "small.yaml", *options, cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert folder.trial(0).record.started == begun  # what was finished is not run again
    results = ("results", "small", "--format", "json")
    ours = json.loads(snrlab(*results, *options, cwd=tmp_path).stdout)
    theirs = json.loads(snrlab(*results, cwd=finished[0]).stdout)
    assert [(r["trial"], r["fd_probe"], r["sigma_rel"]) for r in ours] == [(r["trial"], r["fd_probe"], r["sigma_rel"]) for r in theirs]
    assert not (tmp_path / "runs").exists() and not (tmp_path / "s3:").exists()
    assert (folder.root / "report" / "index.html").exists() and f"{bucket}/runs/small/report" in again.stdout
    for command in (["status", "small"], ["logs", "small", "2"], ["store", "ls"], ["store", "verify"]):
        shown = snrlab(*command, *options[:2], cwd=tmp_path)
        assert shown.returncode == 0 and shown.stdout.strip(), shown.stderr
    swept = snrlab("sweep", "small", "--trial", "0", "--sigma-rel", "0.09", "--save", *options, cwd=tmp_path)
    assert swept.returncode == 0 and f"1 averages in {bucket}/runs/small/trials/0000/averages" in swept.stdout, swept.stderr


def test_what_a_bucket_cannot_do_is_one_message(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small_study()))
    tracking = ("--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db")
    cases = (((f"{bucket}/runs",), "--tracking-uri"), (("s4://bucket",), "s4"), (("s3://none/runs", *tracking), "no bucket none"))
    for options, words in cases:
        refused = snrlab("run", "small.yaml", "--workdir", *options, cwd=tmp_path)
        assert refused.returncode == 2 and words in refused.stderr and "Traceback" not in refused.stderr, refused.stderr


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_RENEWED_EVERY", 0.2)
    monkeypatch.setattr(locks, "_ABANDONED_AFTER", 1.5)


def test_a_held_study_is_refused_and_a_left_one_taken_over(quick, bucket: str) -> None:
    folder = StudyFolder(place(f"{bucket}/leases/s"))
    with folder.held(), pytest.raises(UserError, match="is being run already"), folder.held():
        pass
    with folder.held():
        pass
    (folder.root / ".lock").write_text(json.dumps({"holder": "a process that was killed"}))
    started = time.monotonic()
    with folder.held():
        assert time.monotonic() - started > 1.5


def test_a_lease_that_was_taken_away_is_noticed(quick, bucket: str) -> None:
    gone: list[bool] = []
    path = place(f"{bucket}/leases/lost")
    lease = locks.lock_at(path, lost=lambda: gone.append(True))
    lease.acquire()
    path.write_text(json.dumps({"holder": "somebody else"}))
    end = time.monotonic() + 10
    while not gone and time.monotonic() < end:
        time.sleep(0.1)
    lease.release()
    assert gone and "somebody else" in path.read_text()  # and it is left alone
    other = locks.lock_at(path)
    with pytest.raises(Timeout):
        path.write_text('{"holder": "x"}')
        _acquire_while_renewed(other, path)


def _acquire_while_renewed(lock: locks.Lock, path: Path) -> None:
    import threading

    over = threading.Event()

    def renew() -> None:
        count = 0
        while not over.wait(0.2):
            path.write_text(json.dumps({"holder": "x", "renewals": (count := count + 1)}))

    threading.Thread(target=renew, daemon=True).start()
    try:
        lock.acquire(timeout=0)
    finally:
        over.set()


def test_a_journal_of_objects_keeps_the_order(bucket: str) -> None:
    folder = place(f"{bucket}/journal")
    journal = ObjectJournal(folder)
    for i in range(12):
        journal.append_logs([{"n": i}, {"n": i + 100}])
    assert [e["n"] for e in journal.read_logs(2)][:2] == [1, 101]
    assert list(ObjectJournal(folder).read_logs(0)) == list(journal.read_logs(0))


def test_local_folders_need_none_of_this(tmp_path: Path) -> None:
    assert isinstance(place(str(tmp_path)), Path) and place("runs") == Path("runs").absolute()
