"""How long a study has run and what it has used of GPUs, over all its runs: time in which nothing ran does not count."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

from orchestrator.records.folders import StudyFolder
from trainables.files import document

_WRITTEN_EVERY = 10.0  # seconds; a kill forgets no more than that
_LONGEST_TICK = 60.0  # seconds; a machine that slept has not worked


@dataclass
class Usage:
    """Hours of running, and GPU-hours of training."""

    hours: float = 0.0
    gpu_hours: float = 0.0


class UsageClock:
    """Counts while a study runs; `tick` often."""

    def __init__(self, folder: StudyFolder, gpus_per_trial: float) -> None:
        self._path, self._gpus = folder.usage, gpus_per_trial
        way_out = "delete it: the budget then counts from zero"
        self.used = Usage(**document.read(self._path, way_out)) if self._path.exists() else Usage()
        self._last = self._written = time.monotonic()

    def tick(self, training: int) -> None:
        """Count the time since the last tick, in which so many trials were training."""
        now = time.monotonic()
        passed = min(now - self._last, _LONGEST_TICK) / 3600
        self._last = now
        self.used.hours += passed
        self.used.gpu_hours += passed * training * self._gpus
        if now - self._written > _WRITTEN_EVERY:
            self.write()

    def write(self) -> None:
        self._written = time.monotonic()
        document.write(self._path, asdict(self.used))
