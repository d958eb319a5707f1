"""Where things lie in the work folder (a path, or a URL of storage that all machines see), and the small JSON records that
outlive every process.

    runs/
      mlflow.db, mlflow-artifacts/      the record
      store/                            results of training by their content, see store.py
      cache/                            feature networks, shared by all studies
      <study>/study.json                what is being run
      <study>/search.jsonl              the log of the search; optuna.journal is a copy for Optuna's own tools
      <study>/trials/0003/              recipe.json, metrics.jsonl, checkpoint, snapshots/, trial.json, sweep.json
      <study>/report/                   index.html, a page per trial, the figures' data
      index.html                        all studies (snrlab report --all)
"""

from __future__ import annotations

import hashlib
import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import Timeout

from orchestrator.records.locks import Lock, lock_at
from trainables.errors import UserError
from trainables.files import document
from trainables.files.storage import is_local, trouble

_LOST = signal.SIGUSR2  # to the main thread; not SIGINT, which shells make background jobs ignore
Training = Literal["running", "completed", "stopped", "failed", "infeasible"]


@dataclass(frozen=True)
class WorkFolder:
    """The folder that all studies share."""

    root: Path

    @property
    def tracking_uri(self) -> str:
        """SQLite beside the results; UserError where that cannot be."""
        if not is_local(self.root):
            raise UserError(f"--workdir {self.root}: no database can lie there; name an MLflow server with --tracking-uri")
        return f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        return self.root / "mlflow-artifacts"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def cache(self) -> Path:
        """Feature networks and reference statistics, the same ones for all machines."""
        return self.root / "cache"

    @property
    def index(self) -> Path:
        """The page of all studies."""
        return self.root / "index.html"

    def study(self, name: str) -> StudyFolder:
        return StudyFolder(self.root / name)


@dataclass(frozen=True)
class StudyFolder:
    """Everything of one study."""

    root: Path

    @property
    def search_log(self) -> Path:
        return self.root / "search.jsonl"

    @property
    def usage(self) -> Path:
        return self.root / "usage.json"

    @property
    def journal(self) -> Path:
        """A copy of the search for Optuna's own tools."""
        return self.root / "optuna.journal"

    @property
    def definition(self) -> Path:
        return self.root / "study.json"

    @property
    def report(self) -> Path:
        return self.root / "report" / "index.html"

    def trial(self, number: int) -> TrialFolder:
        return TrialFolder(self.root / "trials" / f"{number:04d}", number)

    def known_trial(self, number: int) -> TrialFolder:
        """A trial with a record; UserError without one."""
        known = [trial.number for trial in self.trials()]
        if number not in known:
            raise UserError(f"trial {number}: study {self.root.name} has no such trial. Trials: {', '.join(map(str, known)) or 'none'}.")
        return self.trial(number)

    @contextmanager
    def held(self) -> Iterator[Lock]:
        """Keep others from changing this study meanwhile (main thread only); UserError if one is at it, or where the storage fails."""
        lost, main = threading.Event(), threading.main_thread().ident or 0

        def stop() -> None:
            lost.set()
            signal.pthread_kill(main, _LOST)  # which also wakes it where it waits

        handled = signal.signal(_LOST, signal.default_int_handler)
        try:
            with self._lock(stop) as lock:
                yield lock
        except BaseException as error:
            if lost.is_set():
                reason = "the storage could not be reached for too long, or this process was stopped, so that another may have followed"
            elif not (reason := trouble(error)):
                raise
            raise UserError(f"study {self.root.name} in {self.root.parent}: {reason}; run the same command again to go on") from error
        finally:
            signal.signal(_LOST, handled)

    @contextmanager
    def _lock(self, lost: Callable[[], object]) -> Iterator[Lock]:
        lock = lock_at(self.root / ".lock", lost)
        try:
            lock.acquire(timeout=1)  # somebody may only be looking whether it is held
        except Timeout:
            raise UserError(f"study {self.root.name} is being run already ({self.root / '.lock'} is held by another process)") from None
        try:
            yield lock
        finally:
            lock.release()

    @property
    def is_held(self) -> bool:
        """Whether a process is at this study now."""
        lock = lock_at(self.root / ".lock")
        try:
            lock.acquire(timeout=1)
        except Timeout:
            return True
        lock.release()
        return False

    @property
    def cancel_request(self) -> Path:
        """A file whose appearance asks the running process to stop."""
        return self.root / "cancel"

    def trials(self) -> list[TrialFolder]:
        """Trials with a record, by number."""
        found = sorted((self.root / "trials").glob("[0-9]*/trial.json"))
        return [self.trial(int(path.parent.name)) for path in found]


@dataclass
class TrialRecord:
    """What is known of a trial besides its metrics."""

    number: int
    values: dict[str, Any]
    recipe_key: str
    variant_key: str
    training: Training = "running"
    reason: str = ""
    started: float = 0.0
    ended: float = 0.0
    reused: dict[str, Any] = field(default_factory=dict)  # study, trial and images of the training that was taken over


@dataclass
class SweepRecord:
    """The outcome of a trial's EMA sweep; `error` instead of points when it failed."""

    metric: str
    points: list[dict[str, Any]] = field(default_factory=list)  # as trainables.evaluation.sweep.point_row
    optima: list[dict[str, Any]] = field(default_factory=list)  # as trainables.evaluation.sweep.optimum_row
    cost: dict[str, float] = field(default_factory=dict)  # macs, parameters, train_seconds, gpu_seconds
    evaluations: int = 0
    seconds: float = 0.0
    solver: str = "robust"
    error: str = ""
    damaged: bool = False  # stored averages: only training anew helps
    experts: dict[str, Any] = field(default_factory=dict)  # groups, choices and costs of a step-adaptive trial
    classical: list[dict[str, Any]] = field(default_factory=list)  # as trainables.evaluation.classical_scores.classical_row
    stages: list[dict[str, Any]] = field(default_factory=list)  # compute of a network and its guide; that of experts is in `experts`
    floor: float | None = None  # the score of real images, at the same number of samples
    sheets: dict[str, list[str]] = field(default_factory=dict)  # by name of a contact sheet, what its rows are, from above

    @property
    def best(self) -> dict[str, Any] | None:
        """The lowest score at the end of the training."""
        last = max((p["images"] for p in self.points), default=0)
        return min((p for p in self.points if p["images"] == last), key=lambda p: p["distance"], default=None)

    @property
    def numbers(self) -> dict[str, float]:
        """Everything that objectives and constraints may name; empty where the sweep failed."""
        return {**self.best["metrics"], **self.cost} if self.best else {}

    @property
    def optimum(self) -> dict[str, Any] | None:
        """The best EMA length with its interval, in the slice of the lowest score."""
        best = self.best
        same = ("images", "guidance_weight", "guide_sigma_rel")
        return next((o for o in self.optima if best and o["metric"] == self.metric and all(o[k] == best[k] for k in same)), None)


@dataclass(frozen=True)
class TrialFolder:
    """One trial's files."""

    root: Path
    number: int

    @property
    def is_known(self) -> bool:
        """Whether there is a record of the trial."""
        return (self.root / "trial.json").exists()

    @property
    def record(self) -> TrialRecord:
        return TrialRecord(**document.read(self.root / "trial.json", f"restore it, or delete {self.root} to run that trial again"))

    def write_record(self, record: TrialRecord) -> None:
        document.write(self.root / "trial.json", asdict(record))

    @property
    def sweep(self) -> SweepRecord | None:
        path = self.root / "sweep.json"
        return SweepRecord(**document.read(path, "restore it, or delete it to sweep that trial again")) if path.exists() else None

    @property
    def done_sweep(self) -> SweepRecord | None:
        """The trial's own sweep, if it has been done without an error."""
        sweep = self.sweep
        return sweep if sweep and not sweep.error else None

    def write_sweep(self, record: SweepRecord) -> None:
        document.write(self.root / "sweep.json", asdict(record))

    def drop_sweep(self) -> None:
        """Forget the trial's own sweep."""
        (self.root / "sweep.json").unlink(missing_ok=True)

    def write_further_sweep(self, record: SweepRecord) -> Path:
        """Keep a sweep that was asked for after the trial's own; it never changes the trial's score."""
        text = json.dumps(asdict(record))
        path = self.root / "sweeps" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        document.write(path, asdict(record))
        return path

    @property
    def further_sweeps(self) -> dict[str, SweepRecord]:
        """By file name."""
        found = sorted((self.root / "sweeps").glob("*.json"))
        return {path.name: SweepRecord(**document.read(path, "restore it or delete it; snrlab sweep makes it again")) for path in found}

    def samples(self, point: Mapping[str, Any]) -> Path:
        """Contact sheet of a sweep's point."""
        guide = f"-guide-{point['guide_sigma_rel']:.4f}" if point["guide_sigma_rel"] else ""
        name = f"images-{point['images']:012d}-weight-{point['guidance_weight']:g}{guide}-sigma_rel-{point['sigma_rel']:.6f}.png"
        return self.root / "samples" / name

    def sheet(self, name: str) -> Path:
        """Contact sheet that compares images of the trial's own sweep."""
        return self.root / "samples" / f"{name}.png"
