"""The stages of a study's chain, as the log of its search lays them out."""

from __future__ import annotations

from typing import Any

from orchestrator.records.folders import StudyFolder
from trainables.files.line_log import LineLog


def stages(folder: StudyFolder) -> list[dict[str, Any]]:
    """Name, number of the first trial, design (none where there was nothing to compare) and reason of each stage that has begun."""
    entries = LineLog(folder.search_log, "restore it").read()
    return [
        {"stage": e["stage"], "first": e["trial"], "design": e["design"], "reason": e["reason"]} for e in entries if e["event"] == "stage"
    ]
