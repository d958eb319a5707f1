"""Trials that sleep, for measuring how busy a search keeps its workers.

A file of its own, because 64 trial actors import it: each must be as small as that of a real trial.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from orchestrator.execution.dispatcher import Message
from orchestrator.records.folders import SweepRecord
from tests.benchmarks.instant import InstantTrial, instant_sweep
from trainables.randomness import uniform
from trainables.training import metrics_log
from trainables.training.progress import Progress

REPORTS, IMAGES = 27, 128  # reports of a whole trial, images between two
SECONDS = {16: 2.0, 64: 6.0}  # of one report, by trials at a time


class SleepingGroup:
    """Stands for workers that need the same time for each report; of 27 reports, ASHA lets most trials have one."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def assign(self, recipe_json: str, folder: Path, cache: Path, store: Path | None) -> None:
        self._folder, self._images = folder, 0
        self._level = float(uniform(0, "sleeping trial", int(folder.name), 1)[0])

    def next_message(self) -> Message:
        time.sleep(self._seconds)
        self._images += IMAGES
        score = (1.0 + self._level) * (1.0 + IMAGES / self._images)
        row = {"loss": 1.0, "interim_fd_probe": score, "images_per_second": 1.0, "train_seconds": 0.0}
        metrics_log.append(self._folder, {"images": self._images, "time": time.time(), **row})
        return Message(0, Progress(self._images, row, self._images == REPORTS * IMAGES))

    def close(self) -> None:
        pass


class SleepingTrial(InstantTrial):
    """A trial of the platform, but for its training."""

    def setup(self, config: dict[str, Any], study: str, **known: Any) -> None:  # type: ignore[override]
        self.group = SleepingGroup(SECONDS[json.loads(study)["compute"]["concurrent_trials"]])
        super().setup(config, study, **known)


def sleeping_sweep(root: str, number: int, *rest: Any) -> SweepRecord:
    """Half a report long."""
    time.sleep(SECONDS[64 if "at-64" in root else 16] / 2)
    return instant_sweep(root, number, *rest)
