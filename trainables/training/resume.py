"""Where a run goes on: from its checkpoint if everything it has left is there, else from the start, with the same numbers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from trainables.ema.classical_snapshots import classical_name
from trainables.ema.flat_file import WAY_OUT, open_flat
from trainables.ema.snapshots import snapshot_name
from trainables.errors import Damaged
from trainables.recipe import Recipe
from trainables.training import checkpoint, metrics_log
from trainables.training.checkpoint import Counters

if TYPE_CHECKING:
    from torch import Tensor


def state_of(folder: Path, recipe: Recipe, key: str) -> tuple[Counters, dict[str, Tensor]] | None:
    """Counters and tensors to go on from; None, with a warning if there was something, to begin at the start.

    Reads every stored average once, because a damaged one would be noticed by the sweep alone, when the run is over.
    UserError where the checkpoint is of another recipe.
    """
    try:
        stored = checkpoint.load(folder, key)
        if stored:
            check_whole(folder, recipe, stored[0].images, values=True)
    except Damaged as error:
        logging.getLogger(__name__).warning("%s; this run begins at the start", error)
        return None
    return stored


def check_trained(folder: Path, recipe: Recipe) -> None:
    """Damaged where a run that has ended lacks something that its sweep needs."""
    rows = metrics_log.read(folder)
    images = max(rows[-1]["images"] if rows else 0, checkpoint.images(folder))
    if not images:
        raise Damaged(f"{metrics_log.path(folder)}: is missing or empty, although something was trained; {WAY_OUT}")
    check_whole(folder, recipe, images)


def check_whole(folder: Path, recipe: Recipe, images: int, values: bool = False) -> None:
    """Damaged where what a run has written up to this number of images is not all there; looks at headers, or at values too."""
    every = recipe.evaluation.every
    reported = images if images == recipe.duration.images else images // every * every  # checkpoints by time lie between reports
    if reported and not metrics_log.reaches(folder, reported):
        raise Damaged(f"{metrics_log.path(folder)}: ends before {reported} images, which were trained; {WAY_OUT}")
    for time in range(recipe.ema.snapshot_every, images + 1, recipe.ema.snapshot_every):
        stored = [snapshot_name(folder / "snapshots", time, sigma_rel) for sigma_rel in recipe.ema.sigma_rels]
        stored += [classical_name(folder / "snapshots", time, average.name) for average in recipe.ema.classical]
        for file in map(open_flat, stored):
            if values and not file.verify():
                raise Damaged(f"{file.location}: does not match its checksums; {WAY_OUT}")


def cut_back(folder: Path, images: int) -> None:
    """Leave a run as it was after so many images; what it has trained beyond them is forgotten."""
    metrics_log.drop_after(folder, images)
    if checkpoint.images(folder) <= images:
        return
    checkpoint.path(folder).unlink()
    for snapshot in (folder / "snapshots").glob("*.safetensors"):
        if int(snapshot.name.split("-")[1]) > images:
            snapshot.unlink()


def forget_training(folder: Path) -> None:
    """Let a run begin at the start, with the same numbers."""
    checkpoint.path(folder).unlink(missing_ok=True)
    for snapshot in (folder / "snapshots").glob("*.safetensors"):
        snapshot.unlink()
