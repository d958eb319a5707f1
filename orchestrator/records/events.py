"""What happened to a trial, as JSON lines in its folder: for people through `snrlab logs`, for programs as it is."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from trainables.files.storage import append_text, trouble

_NAME = "events.jsonl"


def note(folder: Path, event: str, **details: Any) -> None:
    """Append one event; where the disk is full or the storage away it is lost, because nothing depends on it."""
    try:
        append_text(folder / _NAME, json.dumps({"time": time.time(), "event": event, **details}) + "\n")
    except Exception as error:
        if not trouble(error):
            raise


def count(folder: Path, event: str) -> int:
    """How often something has happened."""
    path = folder / _NAME
    return path.read_text(errors="replace").count(f'"event": "{event}"') if path.exists() else 0


@contextmanager
def warnings_noted(folder: Path) -> Iterator[None]:
    """Log records of our packages, from warnings up, become events of this trial."""
    handler = _Events(folder)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def lines(folder: Path) -> list[str]:
    """The events as text; a line that is cut short or damaged is left out."""
    path = folder / _NAME
    if not path.exists():
        return []
    shown = []
    for text in path.read_text(errors="replace").splitlines():
        try:
            event = dict(json.loads(text))
            when, name = datetime.fromtimestamp(event.pop("time")).isoformat(" ", "seconds"), str(event.pop("event"))
        except (ValueError, TypeError, KeyError, OverflowError, OSError):
            continue
        details = "  ".join(f"{key}={value}" if key != "message" else str(value) for key, value in event.items())
        shown.append(f"{when}  {name:<10}  {details}")
    return shown


class _Events(logging.Handler):
    def __init__(self, folder: Path) -> None:
        super().__init__(logging.WARNING)
        self._folder = folder

    def emit(self, record: logging.LogRecord) -> None:
        note(self._folder, record.levelname.lower(), logger=record.name, message=record.getMessage())
