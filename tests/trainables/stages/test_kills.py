"""Processes killed at every boundary between stages and inside each stage: the weights of an unbroken training."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trainables.ema.snapshots import list_snapshots
from trainables.training import metrics_log

_STEP, _RUN = "trainables.training.loop:Run._step", "trainables.stages.run:"
PLACES = [  # (place, call), in the order in which one training reaches them; the base has 8 steps, each of two groups 4
    (_STEP, 2),  # before the base's first checkpoint
    (_STEP, 6),  # after it
    (_RUN + "prepare_experts", 0),  # the base is trained
    ("trainables.stages.preparation:write_start", 1),  # one group has its start
    (_RUN + "read_plan", 0),  # both have, and nothing is trained of them
    (_STEP, 2),  # in the first group
    (_RUN + "joint_report", 0),  # the first group is trained, and not scored
    (_STEP, 0),  # it is scored, and the second one has not begun
    (_STEP, 3),  # in the second group
    (_RUN + "joint_report", 1),  # all is trained, the end not reported
]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_process_killed_at_every_boundary_and_inside_every_stage_leaves_the_weights_of_an_unbroken_one(
    whole: Path, tmp_path: Path, cache: Path
) -> None:
    trained = [str(whole / "recipe.json"), "--output", str(tmp_path / "run"), "--cache", str(cache)]
    for place, count in PLACES:
        ended = subprocess.run([sys.executable, "-m", "tests.trainables.stages.killed", place, str(count), *trained],
                               capture_output=True, text=True)
        assert ended.returncode == -signal.SIGKILL, (place, count, ended.stdout, ended.stderr)
    last = subprocess.run([sys.executable, "-m", "trainables", *trained], capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    for stage in ("base", "group-1", "group-2"):
        assert (weights(tmp_path / "run" / stage) == weights(whole / stage)).all(), stage
    scores = [[(row["images"], row["interim_fd_probe"]) for row in metrics_log.read(f)] for f in (tmp_path / "run", whole)]
    assert scores[0] == scores[1]


def weights(folder: Path) -> np.ndarray:
    return np.concatenate([snapshot.file.read().numpy() for snapshot in list_snapshots(folder / "snapshots")])
