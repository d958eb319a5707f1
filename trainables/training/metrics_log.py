"""The log of a run: one JSON object per line in the run's folder, written before anything is reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainables.files import atomic, storage

_NAME = "metrics.jsonl"


def append(folder: Path, row: dict[str, Any]) -> None:
    """Add one row and force it to the disk."""
    storage.append_text(folder / _NAME, json.dumps(row) + "\n")


def read(folder: Path) -> list[dict[str, Any]]:
    """All whole rows; a last line that was cut off by a crash is left out."""
    path = folder / _NAME
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def copy(source: Path, target: Path) -> None:
    """The rows of one folder in another; never a link, because rows are appended."""
    if (source / _NAME).exists():
        atomic.write_bytes(target / _NAME, (source / _NAME).read_bytes())


def drop_after(folder: Path, images: int) -> None:
    """Forget rows later than the checkpoint that a run goes on from; they will be written again."""
    rows = read(folder)
    kept = [row for row in rows if row["images"] <= images]
    if (folder / _NAME).exists():
        atomic.write_text(folder / _NAME, "".join(json.dumps(row) + "\n" for row in kept))
