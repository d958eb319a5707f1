"""A work folder in S3-compatible storage, with a real server of that protocol (moto); leases where there are no locks."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from orchestrator.records.folders import WorkFolder
from orchestrator.records.store import Store, Taken
from tests.conftest import tiny_fields
from tests.studies import SNRLAB, small_study, snrlab
from trainables.ema.snapshots import list_snapshots
from trainables.files.line_log import LineLog
from trainables.files.storage import place
from trainables.recipe import make_recipe
from trainables.stage_key import stage_key
from trainables.training import checkpoint, metrics_log
from trainables.training.loop import train


def test_a_run_in_a_bucket_leaves_the_same_weights_and_is_kept_and_taken_over(bucket: str, tmp_path: Path, cache: Path) -> None:
    recipe = make_recipe(tiny_fields())
    there, here, other = place(f"{bucket}/there"), tmp_path / "here", place(f"{bucket}/other")
    for _ in itertools.islice(train(recipe, there, cache), 1):
        pass  # and stop early
    for folder in (there, here):
        list(train(recipe, folder, cache))
    store = Store(place(f"{bucket}/store"))
    key = stage_key(recipe, cache)
    store.keep(key, recipe, there, "first", 0)
    assert store.take(key, recipe, other) == Taken(256, "first", 0) and store.verify() == {}
    assert [e.images for e in store.entries()] == [256]
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


SECONDS = {"_RENEWED_EVERY": 0.2, "_GIVEN_UP_AFTER": 1.5, "_ABANDONED_AFTER": 3.0}
HOLDER = f"""
import sys, time
from orchestrator.records import leases
from orchestrator.records.folders import StudyFolder
from trainables.errors import UserError
from trainables.files.line_log import LineLog
from trainables.files.storage import place
vars(leases).update({SECONDS})
name, folder, seconds = sys.argv[1], StudyFolder(place(sys.argv[2])), float(sys.argv[3])
try:
    with folder.held() as lock:
        log = LineLog(folder.root / "log.jsonl", "", lock.generation)
        log.append({{"by": name}})
        print("holds", lock.generation, flush=True)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            log.append({{"by": name}})
            time.sleep(0.05)
except UserError as error:
    sys.exit(f"refused: {{error}}")
"""


def hold(name: str, url: str, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, name, url, str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def authors(url: str) -> list[str]:
    return [name for name, _ in itertools.groupby(entry["by"] for entry in LineLog(place(f"{url}/log.jsonl"), "").read())]


def test_of_three_contenders_in_a_bucket_one_gets_the_study_and_the_others_are_told(bucket: str) -> None:
    url = f"{bucket}/leases/three"
    contenders = [hold(str(i), url, 8) for i in range(3)]
    ended = [process.communicate(timeout=60) for process in contenders]
    refused = [process for process in contenders if process.returncode]
    assert len(refused) == 2 and len(authors(url)) == 1, ended
    assert sum("is being run already" in errors for _, errors in ended) == 2


def test_a_holder_that_was_stopped_is_followed_and_what_it_says_too_late_does_not_count(bucket: str) -> None:
    url = f"{bucket}/leases/stopped"
    first = hold("first", url, 60)
    assert first.stdout and first.stdout.readline() == "holds 1\n"
    first.send_signal(signal.SIGSTOP)
    second = hold("second", url, 4)
    assert second.stdout and second.stdout.readline() == "holds 2\n"
    first.send_signal(signal.SIGCONT)
    _, errors = first.communicate(timeout=30)
    assert first.returncode == 1 and "run the same command again to go on" in errors and "Traceback" not in errors
    assert second.wait(30) == 0 and authors(url) == ["first", "second"]


def test_storage_that_is_away_for_30_s_ends_the_holder_before_another_may_enter(bucket: str, server: subprocess.Popen[bytes]) -> None:
    url = f"{bucket}/leases/away"
    first = hold("first", url, 90)
    assert first.stdout and first.stdout.readline() == "holds 1\n"
    server.send_signal(signal.SIGSTOP)
    try:
        _, errors = first.communicate(timeout=30)
        assert first.returncode == 1 and "run the same command again to go on" in errors, errors
    finally:
        server.send_signal(signal.SIGCONT)
    second = hold("second", url, 1)
    second.communicate(timeout=60)
    assert second.returncode == 0 and authors(url) == ["first", "second"]


def test_local_folders_need_none_of_this(tmp_path: Path) -> None:
    assert isinstance(place(str(tmp_path)), Path) and place("runs") == Path("runs").absolute()
