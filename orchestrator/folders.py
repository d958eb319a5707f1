"""Where things lie in the work folder, and the small JSON records that outlive every process.

    runs/
      mlflow.db, mlflow-artifacts/      the record
      cache/                            feature networks, shared by all studies
      <study>/study.json                what is being run
      <study>/optuna.journal            the state of the search
      <study>/trials/0003/              recipe.json, metrics.jsonl, checkpoint, snapshots/, trial.json, sweep.json
      <study>/report/index.html
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from trainables import atomic
from trainables.errors import UserError

Training = Literal["running", "completed", "stopped", "failed"]


@dataclass(frozen=True)
class WorkFolder:
    """The folder that all studies share."""

    root: Path

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        return self.root / "mlflow-artifacts"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    def study(self, name: str) -> StudyFolder:
        return StudyFolder(self.root / name)


@dataclass(frozen=True)
class StudyFolder:
    """Everything of one study."""

    root: Path

    @property
    def journal(self) -> Path:
        return self.root / "optuna.journal"

    @property
    def definition(self) -> Path:
        return self.root / "study.json"

    @property
    def report(self) -> Path:
        return self.root / "report" / "index.html"

    def trial(self, number: int) -> TrialFolder:
        return TrialFolder(self.root / "trials" / f"{number:04d}", number)

    def recorded_trials(self) -> int:
        """Number of trials up to which everything has reached Optuna and MLflow."""
        path = self.root / "recorded.json"
        return int(_read(path)["trials"]) if path.exists() else 0

    def write_recorded(self, trials: int) -> None:
        atomic.write_text(self.root / "recorded.json", json.dumps({"trials": trials}))

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


@dataclass
class SweepRecord:
    """The outcome of a trial's EMA sweep; `error` instead of points when it failed."""

    metric: str
    points: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    solver: str = "reference"
    error: str = ""

    @property
    def best(self) -> dict[str, Any] | None:
        return min(self.points, key=lambda p: p["distance"], default=None)


@dataclass(frozen=True)
class TrialFolder:
    """One trial's files."""

    root: Path
    number: int

    @property
    def record(self) -> TrialRecord:
        return TrialRecord(**_read(self.root / "trial.json"))

    def write_record(self, record: TrialRecord) -> None:
        atomic.write_text(self.root / "trial.json", json.dumps(asdict(record)))

    @property
    def sweep(self) -> SweepRecord | None:
        path = self.root / "sweep.json"
        return SweepRecord(**_read(path)) if path.exists() else None

    def write_sweep(self, record: SweepRecord) -> None:
        atomic.write_text(self.root / "sweep.json", json.dumps(asdict(record)))

    def samples(self, sigma_rel: float) -> Path:
        return self.root / "samples" / f"sigma_rel-{sigma_rel:.4f}.png"

    @property
    def tracked(self) -> Path:
        """How much of the above the tracking server has confirmed."""
        return self.root / "tracking.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        advice = f"restore it, or delete the folder {path.parent} to run that trial again"
        raise UserError(f"{path}: cannot be read ({error}); {advice}") from None
