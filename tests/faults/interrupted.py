"""A small study that was killed in its second trial, and what must come of it when it is run again after a fault.

Run a part of the matrix with, for example, `pytest -m slow tests/faults -k "checkpoint and halved"`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

from tests.conftest import tiny_fields
from tests.studies import SNRLAB, snrlab

NAME = "faults"
LONGEST_SILENCE, LONGEST_RUN = 60.0, 240.0  # seconds


def study_fields(**changes: Any) -> dict[str, Any]:
    """Two trials of which each takes seconds, in the actor itself."""
    fields = {
        "name": NAME, "base": tiny_fields(duration={"images": 1024, "batch_size": 32}, ema={"snapshot_every": 128}),
        "space": {"optimiser.lr": {"low": 0.005, "high": 0.05, "log": True}},
        "search": {"trials": 2}, "sweep": {"sigma_rels": [0.05, 0.12]}, "compute": {"workers": 0},
    }
    return {**fields, **changes}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    text: str
    silence: float  # longest time without a line, seconds


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """`snrlab run` in a session of its own, its output in one pipe."""
    command = [*SNRLAB, "run", "study.yaml", *options]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def follow(process: subprocess.Popen[str], limit: float = LONGEST_RUN) -> Ended:
    """Wait for the end, and see how long nothing was said."""
    lines, times = [], [time.monotonic()]

    def read() -> None:
        assert process.stdout
        for line in process.stdout:
            lines.append(line)
            times.append(time.monotonic())

    reader = Thread(target=read, daemon=True)
    reader.start()
    try:
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        code = -1
    finally:
        kill(process)
    times.append(time.monotonic())
    reader.join(timeout=5)
    return Ended(code, "".join(lines), max(b - a for a, b in pairwise(times)))


def kill(process: subprocess.Popen[Any]) -> None:
    """With all that it started, as after a reboot."""
    subprocess.run(["pkill", "-9", "-s", str(process.pid)], check=False)
    process.wait(timeout=30)


def write_study(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(yaml.safe_dump(study_fields(**changes)))
    return folder


def make_interrupted(folder: Path, **changes: Any) -> Path:
    """Kill a run once the first trial is swept, and the second has its first checkpoint."""
    process = start(write_study(folder, **changes))
    trials = folder / "runs" / NAME / "trials"
    parts = [trials / "0000" / "sweep.json", trials / "0001" / "checkpoint.safetensors"]
    wait_for(lambda: all(part.exists() for part in parts))
    kill(process)
    return folder


def wait_for(condition: Any, seconds: float = 150.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def results(folder: Path, options: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Rows without what depends on the clock or the way there."""
    shown = snrlab("results", NAME, "--format", "json", *options, cwd=folder)
    assert shown.returncode == 0, shown.stderr
    rows = json.loads(shown.stdout)
    rows = rows["trials"] if isinstance(rows, dict) else rows
    return [{key: value for key, value in row.items() if key in KEPT or key.startswith(("fd_", "optimiser."))} for row in rows]


KEPT = {"trial", "state", "sigma_rel", "images", "variant_key"}


def check_same_or_told(folder: Path, wanted: list[dict[str, Any]], file: Path | None = None,
                       options: Sequence[str] = ()) -> str:
    """Run again: the same results, or code 2 with one message and a way out that leads to them; what happened, in words."""
    ended = follow(start(folder, *options))
    check_manners(ended)
    if ended.code == 0:
        assert results(folder, options) == wanted
        return "the same results"
    assert ended.code == 2, ended
    message = ended.text.strip().splitlines()[-1]
    assert message.startswith("snrlab: ") and (file is None or file.name in ended.text), message
    assert take_way_out(message), f"no way out: {message}"
    again = follow(start(folder, *options))
    check_manners(again)
    assert again.code == 0 and results(folder, options) == wanted, again.text
    return "a message with a way out"


def check_manners(ended: Ended) -> None:
    assert ended.code != -1, f"not at an end after {LONGEST_RUN:g} s: {ended.text}"
    assert "Traceback" not in ended.text, ended.text
    assert ended.silence < LONGEST_SILENCE, f"silent for {ended.silence:.0f} s: {ended.text}"


def take_way_out(message: str) -> bool:
    """Do what a message says to do."""
    if found := re.search(r"move (?:the folder )?(/\S+) away", message):
        path = Path(found[1])
        path.rename(path.with_name(f"{path.name}.away"))
    elif found := re.search(r"delete (?:the folder |the file )?(/[^\s;,]+)", message):
        path = Path(found[1])
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    elif (found := re.search(r"(/[^\s:]+)", message)) and re.search("delete it|[Mm]ove it away", message):
        Path(found[1]).unlink(missing_ok=True)
    else:
        return False
    return True


def copy(folder: Path, target: Path) -> Path:
    """With its hard links."""
    subprocess.run(["cp", "-a", str(folder), str(target)], check=True)
    return target
