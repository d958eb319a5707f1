"""Optuna's journal in storage that cannot append: an object per entry, written once and never changed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from trainables.files import atomic


class ObjectJournal(BaseJournalBackend):
    """Has one writer, because a study is run by one process at a time; what others write later is not seen."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: list[dict[str, Any]] = []
        for path in sorted(folder.glob("*.json")):
            self._entries += json.loads(path.read_text())

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self._entries[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        atomic.write_text(self._folder / f"{len(self._entries):012d}.json", json.dumps(logs))
        self._entries += logs
