"""What a running study looks at every second, whatever it waits for: requests to stop, the disk, tracking, Ray, its budget."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

from orchestrator.cluster.ray_cluster import RayProcesses
from orchestrator.records.folders import StudyFolder, WorkFolder
from orchestrator.records.tracker import Tracker
from orchestrator.records.usage import UsageClock
from search_spaces.study import Study
from trainables.errors import UserError
from trainables.files.storage import is_local

LEAST_AT_START, _LEAST_WHILE_RUNNING = 200 << 20, 100 << 20  # bytes
_SECONDS_BETWEEN_LOOKS = 1.0


def check_disk(work: WorkFolder, least: int) -> None:
    """UserError where too little is free (on a disk; other storage says so by itself)."""
    if not is_local(work.root):
        return
    free = shutil.disk_usage(work.root).free
    if free < least:
        raise UserError(
            f"{work.root}: only {free >> 20} MiB are free, and at least {least >> 20} MiB are needed for snapshots and records: "
            "free some space (sweep.keep_snapshots: none keeps less), and run the same command again to go on"
        )


class Checks:
    """Raises what is to end a run."""

    def __init__(self, study: Study, work: WorkFolder, folder: StudyFolder, tracker: Tracker, note: Callable[[str], None]) -> None:
        self._search, self._work, self._folder, self._tracker, self._note = study.search, work, folder, tracker, note
        compute = study.compute
        self.clock = UsageClock(folder, max(compute.workers, 1) * compute.gpus_per_worker)
        self._again, self._said = 0.0, False

    def look(self, ray: RayProcesses, training: int) -> bool:
        """At most once a second; whether it looked.  `training` is the number of trials that train now."""
        if time.monotonic() < self._again:
            return False
        self._again = time.monotonic() + _SECONDS_BETWEEN_LOOKS
        self.clock.tick(training)
        ray.check()
        if self._folder.cancel_request.exists():
            self._note("asked to stop by snrlab cancel")
            raise KeyboardInterrupt
        check_disk(self._work, _LEAST_WHILE_RUNNING)
        self._tracker.check()
        return True

    def budget_spent(self) -> bool:
        """Whether the study's hours or GPU-hours are used up; said once."""
        used, search = self.clock.used, self._search
        spent = bool((search.hours and used.hours >= search.hours) or (search.gpu_hours and used.gpu_hours >= search.gpu_hours))
        if spent and not self._said:
            self._said = True
            self._note("the budget is used up: no further trial begins")
        return spent
