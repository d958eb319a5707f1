"""Tracking in a process of its own: MLflow's imports, its database and its server cost the study's driver nothing.

    driver --(JSON lines: which trial has changed)--> this process --> MLflow

Lost lines cost nothing, because what is to be written lies in the trials' folders.  The process ends with its driver.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.records.definition import recall
from orchestrator.records.folders import StudyFolder
from orchestrator.records.tracking import PATIENCE, MlflowWriter
from reports.mlflow_client import understood
from trainables.errors import UserError, in_one_line
from trainables.files.storage import place
from trainables.secrets import guard_output, redact


class Tracker:
    """The driver's side: call `touch` after a trial's folder has changed."""

    def __init__(self, folder: StudyFolder, uri: str, artifacts: Path, bounds: Mapping[str, float]) -> None:
        self._opening = {"folder": str(folder.root), "uri": uri, "artifacts": str(artifacts), "bounds": dict(bounds)}

    def start(self) -> None:
        """Returns at once; trials that are there already are written without being asked for."""
        root, self._reason = Path(__file__).parents[2], ""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "orchestrator.records.tracker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))},
            process_group=0,  # a terminal's Ctrl-C is for the driver, which then says how the study ended
        )
        self._tell(self._opening)  # not as an argument: an address may hold a password, and arguments are seen by everybody

    def touch(self, number: int) -> None:
        self._tell({"trial": number})

    def check(self) -> None:
        """UserError if it has given up; a process that was killed (by the system, for its memory) is replaced."""
        ended = self._process.poll()
        if ended and ended < 0:
            self.start()
        elif ended:
            self._explain()

    def close(self, status: str, importances: Mapping[str, Sequence[float]] | None = None) -> None:
        """Nothing more will change: the study's run is to be closed as FINISHED, FAILED or KILLED."""
        self._tell({"finish": status, "importances": importances or {}})

    def wait(self) -> None:
        """Until all is written; UserError where it could not be."""
        if self._process.wait():
            self._explain()

    def _explain(self) -> None:
        assert self._process.stdout
        self._reason = self._reason or self._process.stdout.read().strip()
        reason = self._reason or f"its process ended with {self._process.returncode}"
        raise UserError(f"MLflow cannot be written: {reason}. Nothing is lost: what is missing there is written by the next run")

    def _tell(self, message: dict[str, Any]) -> None:
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it has given up; finish says why
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()


class _Inbox:
    """What is to be looked at: the trials that are there, and what the driver says; a trial that waits already is not queued twice."""

    def __init__(self) -> None:
        self.opening = json.loads(sys.stdin.readline() or sys.exit(1))
        self._messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self._waiting: set[int] = set()
        self._lock, self.patience = threading.Lock(), math.inf  # seconds; a server that is away ends no search
        self.folder = StudyFolder(place(self.opening["folder"]))
        for trial in self.folder.trials():  # before anything that the driver says
            self.put({"trial": trial.number})
        threading.Thread(target=self._listen, daemon=True).start()

    def put(self, message: dict[str, Any]) -> None:
        with self._lock:
            if message.get("trial") in self._waiting:
                return
            if "trial" in message:
                self._waiting.add(message["trial"])
        self._messages.put(message)

    def get(self) -> dict[str, Any]:
        message = self._messages.get()
        with self._lock:
            self._waiting.discard(message.get("trial", -1))
        return message

    def _listen(self) -> None:
        for line in sys.stdin:
            self.put(message := json.loads(line))
            if "finish" in message:
                self.patience = PATIENCE if message["finish"] == "FINISHED" else 30.0  # somebody waits for a run that was stopped
                return
        os._exit(1)  # the driver is gone; whoever goes on with the study writes the rest


def main() -> None:
    """The process: reads lines until told to finish."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    guard_output()
    inbox, answer = _Inbox(), os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads what MLflow prints
    try:
        _track(inbox)
    except Exception as error:
        logging.getLogger(__name__).debug("tracking ended", exc_info=True)
        print(str(error) if isinstance(error, UserError) else redact(in_one_line(error)), file=answer, flush=True)
        os._exit(1)
    os._exit(0)  # all is written; taking the interpreter down in good order costs a second


def _track(inbox: _Inbox) -> None:
    uri = inbox.opening["uri"]
    with understood(uri):
        writer = MlflowWriter(inbox.folder, recall(inbox.folder), uri, place(inbox.opening["artifacts"]), inbox.opening["bounds"],
                              lambda: inbox.patience)
        writer.connect()
        while "finish" not in (message := inbox.get()):
            writer.sync(inbox.folder.trial(message["trial"]))
        writer.finish(message["finish"], message["importances"] or None)


if __name__ == "__main__":
    main()
