"""Training and scoring that need no time, for measuring everything else; imports no more than a real trial does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from orchestrator.execution.dispatcher import Message
from orchestrator.execution.trial import Trial
from orchestrator.records.folders import SweepRecord, TrialFolder
from orchestrator.records.store import Store
from search_spaces.study import Study
from trainables.training import metrics_log
from trainables.training.progress import Progress


class InstantGroup:
    """Stands for workers that need no time."""

    def assign(self, recipe_json: str, folder: Path, cache: Path, store: Path | None) -> None:
        self._folder = folder

    def next_message(self) -> Message:
        row = {"loss": 1.0, "interim_fd_probe": 1.0, "images_per_second": 1.0, "train_seconds": 0.0}
        metrics_log.append(self._folder, {"images": 256, "time": time.time(), **row})
        return Message(0, Progress(256, row, True))

    def close(self) -> None:
        pass


class InstantTrial(Trial):
    """A trial of the platform, but for its training."""

    group: Any = InstantGroup()

    def setup(self, config: dict[str, Any], study: Study, dispatcher: Any, folder: str, cache: str, store: str) -> None:
        self._study, self._cache, self._store = study, Path(cache), Store(Path(store))
        self._trials, self._group = Path(folder), self.group
        self._begin(config)


def instant_sweep(root: str, number: int, *_: Any) -> SweepRecord:
    """Stands for a sweep that needs no time."""
    folder = TrialFolder(Path(root), number)
    values = folder.record.values
    distance = abs(values["weighting.gamma"] - 5.0) + values["optimiser.lr"]
    images = metrics_log.read(folder.root)[-1]["images"]
    point = {"sigma_rel": 0.1, "images": images, "guidance_weight": 1.0, "guide_sigma_rel": None, "distance": distance,
             "standard_error": None, "profile_error": 0.0, "drift_error": 0.0, "coefficient_norm": 1.0, "storage_error": 0.0,
             "metrics": {"fd_probe": distance}}
    record = SweepRecord("fd_probe", [point])
    folder.samples(point).parent.mkdir(exist_ok=True)
    folder.samples(point).write_bytes(b"")
    folder.write_sweep(record)
    return record


def no_features(*_: Any) -> None:
    """Stands for the preparation of scores, which an instant sweep has none of."""
