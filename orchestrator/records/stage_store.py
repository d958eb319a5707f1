"""The stages of a step-adaptive trial in the store: what one trial has trained of a stage, no other trains again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestrator.records import events
from orchestrator.records.locks import Lock
from orchestrator.records.store import Store
from trainables.files import document
from trainables.files.storage import place
from trainables.recipe import keep_recipe
from trainables.stages.stage import Stage
from trainables.training import checkpoint

_NAME = "reused.json"
_WAY_OUT = "delete it; it says only what was reused"


class StageStore:
    """Between one trial's folder and the store; an empty location is no store."""

    def __init__(self, location: str, trial: Path) -> None:
        self._store = Store(place(location)) if location else None
        self._trial = trial
        self._lock: Lock | None = None

    def take(self, stage: Stage) -> None:
        """Wait for whoever trains the stage, and put what is kept of it into its folder."""
        from trainables.training.resume import forget_training  # loads torch

        if self._store is None:
            return
        self._lock = self._store.lock(stage.key)
        self._lock.acquire()
        note = stage.folder / _NAME
        if 0 < checkpoint.images(stage.folder) < self._store.images(stage.key) <= stage.recipe.duration.images:
            forget_training(stage.folder)  # a kill has broken it off, and another trial has come farther meanwhile
        if not checkpoint.exists(stage.folder):
            note.unlink(missing_ok=True)  # of a kill before anything was taken
        with events.warnings_noted(self._trial):
            taken = self._store.take(stage.key, stage.recipe, stage.folder, lambda found: document.write(note, asdict(found)))
        if taken:
            keep_recipe(stage.recipe, stage.folder)
            events.note(self._trial, "reused", stage=stage.name, **asdict(taken))

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


def reused(folder: Path) -> dict[str, Any]:
    """Study, trial and images of what was taken over for the stage in this folder; empty where all was trained there."""
    return document.read(folder / _NAME, _WAY_OUT) if (folder / _NAME).exists() else {}
