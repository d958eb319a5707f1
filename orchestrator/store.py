"""Results of training, by the content of what made them: what one trial has trained, no other trains again.

    store/<stage key>/   checkpoint, metrics, snapshots of the furthest run with this recipe, whatever its length
    store/<stage key>.lock

A stage key is the hash of a recipe without its length, so that a longer run goes on from a shorter one.  Files are hard
links to those of the trial (copies on another disk), which are replaced and never changed, so that keeping them costs no space.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from trainables import atomic, checkpoint, metrics_log
from trainables.recipe import Recipe

_ENTRY, _SNAPSHOTS = "entry.json", "snapshots"


@dataclass(frozen=True)
class Entry:
    """One kept result."""

    key: str
    images: int
    folder: Path
    kept: float  # when, seconds since 1970

    @property
    def size(self) -> int:
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    @property
    def in_use(self) -> bool:
        """Whether some trial still has these files."""
        return any(path.stat().st_nlink > 1 for path in (self.folder / _SNAPSHOTS).glob("*"))


class Store:
    """All kept results of a work folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def lock(self, recipe: Recipe) -> FileLock:
        """Held while the stage is computed, so that others wait for it instead of computing it too."""
        self.root.mkdir(parents=True, exist_ok=True)
        return FileLock(self.root / f"{recipe.stage_key}.lock", thread_local=False)

    def take(self, recipe: Recipe, folder: Path) -> int:
        """Put what is kept of a recipe into a trial's empty folder; returns the images that need not be trained."""
        entry = self._entry(recipe.stage_key)
        if entry is None or entry.images > recipe.duration.images or checkpoint.exists(folder):
            return 0
        for source in sorted((entry.folder / _SNAPSHOTS).glob("*.safetensors")):
            images = int(source.name.split("-")[1])
            if images % recipe.ema.snapshot_every == 0 or images == recipe.duration.images:  # not the odd end of a shorter run
                _link(source, folder / _SNAPSHOTS / source.name)
        metrics_log.copy(entry.folder, folder)
        _link(checkpoint.path(entry.folder), checkpoint.path(folder))  # the last, because it makes the rest count
        return entry.images

    def keep(self, recipe: Recipe, folder: Path) -> None:
        """Keep what a trial has trained, unless as much is kept already."""
        images = checkpoint.images(folder)
        entry = self._entry(recipe.stage_key)
        if not images or (entry and entry.images >= images):
            return
        made = self.root / f".{recipe.stage_key}.{os.getpid()}"
        shutil.rmtree(made, ignore_errors=True)
        for source in sorted((folder / _SNAPSHOTS).glob("*.safetensors")):
            if int(source.name.split("-")[1]) <= images:
                _link(source, made / _SNAPSHOTS / source.name)
        metrics_log.copy(folder, made)
        _link(checkpoint.path(folder), checkpoint.path(made))
        atomic.write_text(made / _ENTRY, json.dumps({"images": images, "kept": time.time(), "recipe": json.loads(recipe.canonical_json)}))
        final = self.root / recipe.stage_key
        if final.exists():
            shutil.rmtree(final)
        made.rename(final)

    def entries(self) -> list[Entry]:
        """By age, the oldest first."""
        found = [self._entry(path.parent.name) for path in self.root.glob(f"*/{_ENTRY}") if not path.parent.name.startswith(".")]
        return sorted((e for e in found if e), key=lambda e: e.kept)

    def collect_garbage(self, unused: Callable[[Entry], bool] = lambda entry: not entry.in_use) -> list[Entry]:
        """Remove entries (those that no trial shares) and what crashes have left; returns the entries removed."""
        gone = [entry for entry in self.entries() if unused(entry)]
        for entry in gone:
            shutil.rmtree(entry.folder)
        for left in self.root.glob(".*"):
            shutil.rmtree(left, ignore_errors=True)
        return gone

    def verify(self) -> dict[Entry, list[str]]:
        """Damaged files of each entry that has some."""
        from trainables.ema.snapshots import list_snapshots
        from trainables.errors import UserError

        found: dict[Entry, list[str]] = {}
        for entry in self.entries():
            try:
                damaged = [s.file.location for s in list_snapshots(entry.folder / _SNAPSHOTS) if not s.file.verify()]
            except UserError as error:
                damaged = [str(error)]
            if damaged:
                found[entry] = damaged
        return found

    def _entry(self, key: str) -> Entry | None:
        path = self.root / key / _ENTRY
        try:
            known = json.loads(path.read_text())
            return Entry(key, int(known["images"]), path.parent, float(known["kept"]))
        except (OSError, ValueError, KeyError):
            return None  # not kept, or cut short: it is computed again


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        pass
    except OSError:  # another disk, or a file system without links
        atomic.write_with(target, lambda temporary: shutil.copyfile(source, temporary))
