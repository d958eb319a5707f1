"""The log of a run: one JSON object per line in the run's folder, written before anything is reported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.errors import Damaged
from trainables.files import atomic
from trainables.files.line_log import append_line, read_lines, write_lines

if TYPE_CHECKING:
    from trainables.recipe import Recipe

_NAME = "metrics.jsonl"
_NOT_METRICS = ("images", "time", "feature_hash", "plan")  # what else a row says


def path(folder: Path) -> Path:
    return folder / _NAME


def append(folder: Path, row: dict[str, Any]) -> None:
    """Add one row and force it to the disk."""
    append_line(path(folder), row)


def read(folder: Path) -> list[dict[str, Any]]:
    """All whole rows; a last line that was cut off by a crash is left out. Damaged where another one is damaged."""
    return read_lines(path(folder), way_out(folder))


def way_out(folder: Path) -> str:
    """What to do where rows are damaged or missing."""
    return f"delete the folder {folder} to train again, with the same numbers"


def check_rows(folder: Path, images: int) -> None:
    """Damaged where the rows of a run that has ended stop before this number of images."""
    rows = read(folder)
    if not rows or rows[-1]["images"] < images:
        raise Damaged(f"{path(folder)}: ends before {images} images, which were trained; {way_out(folder)}")


def reaches(folder: Path, images: int) -> bool:
    """Whether there is a row for this number of images; Damaged where a row is damaged."""
    return any(row["images"] == images for row in read(folder))


def reports(folder: Path, recipe: Recipe) -> list[dict[str, Any]]:
    """The rows of a run's intermediate scores, without one at the odd end of a shorter run that it went on from."""
    every, last = recipe.evaluation.every, recipe.duration.images
    return [row for row in read(folder) if row["images"] % every == 0 or row["images"] >= last]  # beyond it are those of experts


def metrics_of(row: dict[str, Any]) -> dict[str, float]:
    """What was measured, of all that a row says."""
    return {name: value for name, value in row.items() if name not in _NOT_METRICS}


def copy(source: Path, target: Path) -> None:
    """The rows of one folder in another; never a link, because rows are appended."""
    if path(source).exists():
        atomic.write_bytes(path(target), path(source).read_bytes())


def drop_after(folder: Path, images: int) -> None:
    """Forget rows later than the checkpoint that a run goes on from (all where it begins anew); they will be written again."""
    if path(folder).exists():
        write_lines(path(folder), [row for row in read(folder) if row["images"] <= images] if images else [])
