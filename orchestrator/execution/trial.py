"""A trial as Ray Tune sees it: an actor that owns a warm worker group and is handed from trial to trial."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict, replace
from typing import Any

from ray import tune
from ray.actor import ActorHandle

from orchestrator.execution.dispatcher import Message
from orchestrator.execution.worker_groups import Group, make_group
from orchestrator.records import events
from orchestrator.records.folders import TrialFolder, TrialRecord
from orchestrator.records.store import Store
from search_spaces.study import unpacked
from trainables.errors import Damaged, UserError
from trainables.files.storage import place
from trainables.recipe import keep_recipe
from trainables.stage_key import stage_key
from trainables.training import checkpoint, metrics_log


class Trial(tune.Trainable):
    """Each `step` is the training between two intermediate scores; state lies in the trial's folder, not here."""

    _group: Group
    _taken_up: bool  # whether what the store and the folder hold has been looked at
    _assigned: bool  # whether the workers have the recipe
    _rows: list[dict[str, Any]]  # scores of earlier training on which nothing has been decided yet
    _told: int  # images of the last report that was told here, or decided on earlier
    _reused: dict[str, Any]  # what was taken over, until it has been told

    def setup(  # type: ignore[override]  # tune.with_parameters adds the arguments
        self, config: dict[str, Any], study: str, dispatcher: ActorHandle, folder: str, cache: str, store: str
    ) -> None:
        self._study = unpacked(json.loads(study))  # as text: this process may not know the classes of its plug-ins yet
        self._cache, self._store = place(cache), Store(place(store))
        self._trials = place(folder)
        self._group = make_group(self._study.compute, dispatcher, self._trials.parent / "ray")
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._let_go()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        try:
            return self._next_result()
        except UserError as error:
            return self._failed(str(error))

    def _next_result(self) -> dict[str, Any]:
        if not self._taken_up:
            self._take_up()
        if self._rows:
            row = self._rows.pop(0)
            return self._result(int(row["images"]), False, metrics_log.metrics_of(row), recalled=True)
        if not self._assigned:
            self._assigned = True
            store = self._store.root if self._reuses else None
            self._group.assign(json.dumps(self._recipe.packed), self._folder.root, self._cache, store)
        message = self._next_message()
        if message.progress is None:
            return self._failed(message.failure)
        if message.progress.done:
            self._end("completed")
        return self._result(message.progress.images, message.progress.done, message.progress.metrics, message.progress.recalled)

    def _next_message(self) -> Message:
        """The next thing that has not been told; workers that go on after a loss tell all earlier reports again."""
        while True:
            message = self._group.next_message()
            if message.progress is None or message.last or message.progress.images > self._told:
                return message

    def _failed(self, reason: str) -> dict[str, Any]:
        self._end("failed", reason)
        return {"done": True, "failure": reason, "images": 0}

    def _result(self, images: int, done: bool, metrics: dict[str, Any], recalled: bool = False) -> dict[str, Any]:
        reused, self._reused = self._reused, {}
        self._told = images
        return {**metrics, "images": images, "done": done, "recalled": recalled, "reused": reused}

    def cleanup(self) -> None:
        self._group.close()
        self._let_go()

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"number": self._folder.number}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing to do: training goes on from the checkpoint in the trial's folder."""

    def _begin(self, config: dict[str, Any]) -> None:
        number, values = config["number"], config["values"]
        self._folder = TrialFolder(self._trials / f"{number:04d}", number)
        self._recipe = recipe = self._study.recipe(values)
        self._decided: int = config["decided"]
        self._told = self._decided
        self._taken_up = self._assigned = False
        self._rows, self._reused = [], {}
        compute = self._study.compute
        self._key = stage_key(recipe, self._cache, max(compute.workers, 1), "cuda" if compute.gpus_per_worker else "cpu")
        self._lock = self._store.lock(self._key)
        reused = self._folder.record.reused if self._folder.is_known else {}
        self._folder.write_record(
            TrialRecord(number, values, recipe.key, recipe.variant_key, "running", started=time.time(), reused=reused)
        )
        events.note(self._folder.root, "training", recipe=recipe.key[:12], values=json.dumps(values))

    def _take_up(self) -> None:
        """Wait for whoever trains the same recipe, and take over what is there.

        Intermediate scores on which nothing has been decided yet, because a kill came first or because they were trained by another
        trial, are reported once more: early stopping sees the trial as if it had been trained here and now.
        """
        self._taken_up = True
        if self._recipe.in_stages:
            return  # stage by stage: see StageStore
        if self._reuses:
            self._lock.acquire()
            with events.warnings_noted(self._folder.root):
                taken = self._store.take(self._key, self._recipe, self._folder.root)
            if taken:
                self._reused = asdict(taken)
                keep_recipe(self._recipe, self._folder.root)  # early stopping may end the trial before any worker sees it
                self._folder.write_record(replace(self._folder.record, reused=self._reused))
                events.note(self._folder.root, "reused", **self._reused)
        elif self._study.compute.reuse:
            events.note(self._folder.root, "not reused", message="sweep.keep_snapshots is not all, so that no trials share their training")
        trained = checkpoint.images(self._folder.root)
        end = min(trained, self._recipe.duration.images - 1)  # the last report of a whole run comes from the workers
        with contextlib.suppress(Damaged):  # it begins at the start then
            rows = metrics_log.reports(self._folder.root, self._recipe)
            self._rows = [row for row in rows if self._decided < row["images"] <= end]

    @property
    def _reuses(self) -> bool:
        return self._study.compute.reuse and self._study.sweep.keep_snapshots == "all"

    def _let_go(self) -> None:
        """Keep what was trained, however far it came, and let others at it."""
        if self._lock.is_locked:
            self._store.keep(self._key, self._recipe, self._folder.root, self._study.name, self._folder.number)
            self._lock.release()

    def _end(self, training: Any, reason: str = "") -> None:
        record = self._folder.record
        record.training, record.reason, record.ended = training, reason, time.time()
        self._folder.write_record(record)
        events.note(self._folder.root, training, **({"message": reason} if reason else {}))
        self._let_go()
