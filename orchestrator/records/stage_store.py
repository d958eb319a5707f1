"""The stages of a step-adaptive trial in the store: what one trial has trained of a stage, no other trains again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from filelock import Timeout

from orchestrator.records import events
from orchestrator.records.locks import Lock
from orchestrator.records.store import Store
from trainables.files import document
from trainables.files.storage import place
from trainables.recipe import keep_recipe
from trainables.stages.stage import Candidate, Stage
from trainables.training import checkpoint

_NAME = "reused.json"
_WAY_OUT = "delete it; it says only what was reused"


class TrainAlong(Protocol):
    """Others who may train what a trial will want, at the same time and in the same store."""

    def train(self, stages: Sequence[Stage]) -> None:
        """Train stages of the trial, the last ones first."""

    def score(self, candidates: Sequence[Candidate], folder: Path) -> None:
        """Find the losses of candidates, the last ones first."""


class StageStore:
    """Between one trial's folder and the store; an empty location is no store."""

    def __init__(self, location: str, trial: Path, along: TrainAlong | None = None, pulse: Callable[[], None] = lambda: None) -> None:
        """`pulse` is called while another trial is waited for."""
        self._store = Store(place(location)) if location else None
        self._trial, self._along, self._pulse = trial, along, pulse
        self._lock: Lock | None = None
        self._offered: set[str] = set()

    def take(self, stage: Stage) -> int:
        """Wait for whoever trains the stage, and put what is kept of it into its folder."""
        if self._store is None:
            return 0
        self._lock = self._store.lock(stage.key)
        self._wait_for(self._lock, stage.key)
        return self._put(stage, self._store)

    def claim(self, stage: Stage) -> bool:
        """`take`, unless the stage is being trained now; whether it was taken."""
        if self._store is None:
            return False
        lock = self._store.lock(stage.key)
        if not _at_once(lock):
            return False
        self._lock = lock
        self._put(stage, self._store)
        return True

    def keep(self, stage: Stage) -> None:
        """Keep what was trained, and let others at it."""
        if self._store is None or self._lock is None:
            return
        try:
            if checkpoint.exists(stage.folder):
                study, number = self._trial.parent.parent.name, int(self._trial.name)
                self._store.keep(stage.key, stage.recipe, stage.folder, study, number)
        finally:
            self._lock.release()
            self._lock = None

    def offer(self, stages: Sequence[Stage]) -> None:
        """Let others train all but the first stage, which is trained here at once."""
        if self._along and len(stages) > 1:
            self._offered |= {stage.key for stage in stages[1:]}
            self._along.train(stages[1:])

    def losses(self, candidates: Sequence[Candidate], loss_of: Callable[[Candidate], float]) -> list[float]:
        """Those that are kept are not computed again, by whatever trial they were."""
        if self._store is None:
            return [loss_of(candidate) for candidate in candidates]
        if self._along and len(unknown := [c for c in candidates if self._store.loss(c.key) is None]) > 1:
            self._offered |= {candidate.key for candidate in unknown[1:]}
            self._along.score(unknown[1:], self._trial)
        return [self._loss(candidate, loss_of, self._store) for candidate in candidates]

    def claim_loss(self, candidate: Candidate, loss_of: Callable[[Candidate], float]) -> None:
        """Compute and keep a candidate's loss, unless it is known or being computed now."""
        if self._store is None or not _at_once(lock := self._store.lock(candidate.key)):
            return
        try:
            if self._store.loss(candidate.key) is None:
                self._store.keep_loss(candidate.key, loss_of(candidate))
        finally:
            lock.release()

    def _loss(self, candidate: Candidate, loss_of: Callable[[Candidate], float], store: Store) -> float:
        if (known := store.loss(candidate.key)) is not None:
            return known
        lock = store.lock(candidate.key)
        self._wait_for(lock, candidate.key)
        try:
            if (known := store.loss(candidate.key)) is None:
                known = loss_of(candidate)
                store.keep_loss(candidate.key, known)
            return known
        finally:
            lock.release()

    def _wait_for(self, lock: Lock, key: str) -> None:
        """Those who train along for this trial say themselves that they are at work."""
        while not _at_once(lock, patience=1.0):
            if key not in self._offered:
                self._pulse()

    def _put(self, stage: Stage, store: Store) -> int:
        from trainables.training.resume import forget_training  # loads torch

        note = stage.folder / _NAME
        if 0 < checkpoint.images(stage.folder) < store.images(stage.key, stage.recipe):
            forget_training(stage.folder)  # a kill has broken it off, and another trial has come farther meanwhile
        if not checkpoint.exists(stage.folder):
            note.unlink(missing_ok=True)  # of a kill before anything was taken
        with events.warnings_noted(self._trial):
            taken = store.take(stage.key, stage.recipe, stage.folder, lambda found: document.write(note, asdict(found)))
        if taken:
            keep_recipe(stage.recipe, stage.folder)
            events.note(self._trial, "reused", stage=stage.name, **asdict(taken))
        return int(reused(stage.folder).get("images", 0))


def _at_once(lock: Lock, patience: float = 0.0) -> bool:
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        return False
    return True


def reused(folder: Path) -> dict[str, Any]:
    """Study, trial and images of what was taken over for the stage in this folder; empty where all was trained there."""
    return document.read(folder / _NAME, _WAY_OUT) if (folder / _NAME).exists() else {}
