"""Results of training, by the content of what made them: what one trial has trained, no other trains again.

    store/<stage key>/<images>/   checkpoint, metrics, snapshots of a run that has come so far
    store/losses/<key>.json       the loss of a candidate of a proxy search
    store/<key>.lock

A stage key (`trainables/stage_key.py`) says nothing of the length, so that a longer run goes on from a shorter one.  What is kept of a key
are the whole runs of every length, for those who want no more, and the furthest one that was broken off beyond them.  Files are hard
links to those of the trial (copies on another disk or in remote storage), which are replaced and never changed, so that keeping
them costs no space.  An entry counts once its `entry.json` is there, which is written last.  All of it is checked when it is taken; one
that is damaged is dropped, and the training is done again.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from orchestrator.records.locks import Lock, lock_at
from trainables.errors import Damaged, UserError
from trainables.files import document
from trainables.files.storage import copy_file, remove_tree
from trainables.recipe import Recipe, unpacked
from trainables.training import checkpoint, metrics_log

_ENTRY, _SNAPSHOTS, _LOSSES = "entry.json", "snapshots", "losses"
_WAY_OUT = "snrlab store gc removes it"


@dataclass(frozen=True)
class Entry:
    """One kept result."""

    key: str
    images: int
    folder: Path
    kept: float  # when, seconds since 1970
    whole: bool = False  # whether a run of this length has come to its end
    study: str = ""  # where it was trained; empty for entries of earlier versions
    trial: int = -1

    @property
    def size(self) -> int:
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    @property
    def in_use(self) -> bool:
        """Whether some trial still has these files."""
        return any(path.stat().st_nlink > 1 for path in (self.folder / _SNAPSHOTS).glob("*"))


@dataclass(frozen=True)
class Taken:
    """What a trial has got from the store, and whose it was."""

    images: int  # that need not be trained
    study: str
    trial: int


class Store:
    """All kept results of a work folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def lock(self, key: str) -> Lock:
        """Held while the stage is computed, so that others wait for it instead of computing it too."""
        return lock_at(self.root / f"{key}.lock")

    def take(self, key: str, recipe: Recipe, folder: Path, note: Callable[[Taken], None] = lambda taken: None) -> Taken | None:
        """Put what is kept of a recipe into a trial's empty folder; None where there is nothing for it.

        `note` is told of it just before it counts as the folder's own, so that no kill comes between.  A damaged entry is dropped with
        a warning.
        """
        entry = self._furthest(key, recipe)
        if entry is None or checkpoint.exists(folder):
            return None
        if damaged := self._damaged(entry):
            logging.getLogger(__name__).warning("%s: damaged in the store, which drops it; training begins at the start", damaged[0])
            self._drop(entry)
            return None
        for source in sorted((entry.folder / _SNAPSHOTS).glob("*.safetensors")):
            images = int(source.name.split("-")[1])
            if images % recipe.ema.snapshot_every == 0 or images == recipe.duration.images:  # not the odd end of a shorter run
                copy_file(source, folder / _SNAPSHOTS / source.name)
        metrics_log.copy(entry.folder, folder)
        taken = Taken(entry.images, entry.study, entry.trial)
        note(taken)
        copy_file(checkpoint.path(entry.folder), checkpoint.path(folder))  # the last, because it makes the rest count
        return taken

    def images(self, key: str, recipe: Recipe) -> int:
        """How far what is kept for a recipe has been trained; 0 where nothing is."""
        entry = self._furthest(key, recipe)
        return entry.images if entry else 0

    def keep(self, key: str, recipe: Recipe, folder: Path, study: str, trial: int) -> None:
        """Keep what a trial has trained, unless it is kept already, or data or code have changed since the key was made.

        Where the trial has come to its end, its length is kept beside others; else only what is further than all others.
        """
        images, known = checkpoint.images(folder), self._entries(key)
        whole, furthest = images == recipe.duration.images, max((entry.images for entry in known), default=0)
        if not images or checkpoint.stage(folder) != key or (images <= furthest and not whole):
            return
        if any(entry.images == images and entry.whole for entry in known):
            return
        final = self.root / key / str(images)
        (final / _ENTRY).unlink(missing_ok=True)
        remove_tree(final)
        for source in sorted((folder / _SNAPSHOTS).glob("*.safetensors")):
            if int(source.name.split("-")[1]) <= images:
                copy_file(source, final / _SNAPSHOTS / source.name)
        metrics_log.copy(folder, final)
        copy_file(checkpoint.path(folder), checkpoint.path(final))
        document.write(final / _ENTRY, {"images": images, "whole": whole, "kept": time.time(), "study": study, "trial": trial,
                                        "recipe": recipe.packed})
        for entry in known:
            if not entry.whole and entry.images < images:
                self._drop(entry)

    def loss(self, key: str) -> float | None:
        """Of a candidate of a proxy search, NaN where it has none; None where it is not kept, or damaged."""
        try:
            loss = document.read(self._loss(key), _WAY_OUT)["loss"]
        except (Damaged, KeyError):
            return None
        return math.nan if loss is None else float(loss)

    def keep_loss(self, key: str, loss: float) -> None:
        """Keep a candidate's loss; what is not finite is kept as none."""
        document.write(self._loss(key), {"loss": loss if math.isfinite(loss) else None})

    def entries(self) -> list[Entry]:
        """By age, the oldest first."""
        found = [self._entry(path.parent) for path in self.root.glob(f"*/*/{_ENTRY}")]
        return sorted((e for e in found if e), key=lambda e: e.kept)

    def collect_garbage(self, unused: Callable[[Entry], bool] = lambda entry: not entry.in_use) -> list[Entry]:
        """Remove entries (those that no trial shares) and what crashes have left; returns the entries removed.

        Stages that a study is at, which may be taking its entries, are left as they are.
        """
        gone: list[Entry] = []
        remove_tree(self.root / _LOSSES)  # which trials keep, too
        for stage in sorted(path for path in self.root.glob("*") if path.is_dir() and not path.name.endswith(".lock")):
            with self._unless_busy(stage.name) as free:
                if not free:
                    continue
                for folder in stage.glob("*"):
                    entry = self._entry(folder)
                    if entry and unused(entry):
                        self._drop(entry)
                        gone.append(entry)
                    elif not entry:
                        remove_tree(folder)
                if not any(stage.glob("*")):
                    remove_tree(stage)
        return sorted(gone, key=lambda entry: entry.kept)

    def verify(self) -> dict[Entry, list[str]]:
        """Damaged files of each entry that has some: checkpoint, metrics, every stored average; or what is wrong.

        Without what a running study drops meanwhile.
        """
        return {entry: damaged for entry in self.entries() if (damaged := self._damaged(entry)) and self._entry(entry.folder)}

    def _loss(self, key: str) -> Path:
        return self.root / _LOSSES / f"{key}.json"

    def _damaged(self, entry: Entry) -> list[str]:
        from trainables.ema.snapshots import list_snapshots
        from trainables.training.resume import check_whole

        try:
            recipe = unpacked(document.read(entry.folder / _ENTRY, _WAY_OUT)["recipe"])
            check_whole(entry.folder, recipe, entry.images)
            damaged = [s.file.location for s in list_snapshots(entry.folder / _SNAPSHOTS) if not s.file.verify()]
        except UserError as error:
            damaged = [str(error)]
        whole = checkpoint.verify(entry.folder) and checkpoint.images(entry.folder) == entry.images
        return damaged if whole else [*damaged, str(checkpoint.path(entry.folder))]

    def _drop(self, entry: Entry) -> None:
        (entry.folder / _ENTRY).unlink(missing_ok=True)  # another process may be at it, too
        remove_tree(entry.folder)

    @contextmanager
    def _unless_busy(self, key: str) -> Iterator[bool]:
        """Hold a stage's lock, or say that somebody else does."""
        lock = self.lock(key)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _furthest(self, key: str, recipe: Recipe) -> Entry | None:
        """What a recipe's run can go on from; at its own length, only what has the averages of its end."""
        end, every = recipe.duration.images, recipe.ema.snapshot_every
        usable = [e for e in self._entries(key) if e.images < end or (e.images == end and (e.whole or end % every == 0))]
        return max(usable, key=lambda e: e.images, default=None)

    def _entries(self, key: str) -> list[Entry]:
        found = [self._entry(path.parent) for path in (self.root / key).glob(f"*/{_ENTRY}")]
        return [entry for entry in found if entry]

    def _entry(self, folder: Path) -> Entry | None:
        try:
            known = document.read(folder / _ENTRY, _WAY_OUT)
            images, kept = int(known["images"]), float(known["kept"])
            return Entry(folder.parent.name, images, folder, kept, known["whole"], known["study"], known["trial"])
        except (UserError, ValueError, KeyError):
            return None  # not kept, or damaged: it is computed again
