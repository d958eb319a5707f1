"""A study's definition in its folder: which changes of the file may go on with its results, and which would mix them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

from orchestrator.folders import StudyFolder
from search_spaces.study import Study
from trainables import atomic
from trainables.errors import UserError, did_you_mean

_CHANGEABLE = {"description", "compute"}  # fields that cannot mix results; search.trials may grow


def define(study: Study, folder: StudyFolder) -> str:
    """Write the study's definition, or check that it fits the one there; returns the study's id."""
    fields = study.model_dump(mode="json")
    study_id = uuid.uuid4().hex
    if folder.definition.exists():
        earlier, study_id = recall(folder)
        changes = list(differences(earlier.model_dump(mode="json"), fields))  # fields that are new since then have their defaults
        refused = [c for c in changes if not _compatible(c)]
        if refused:
            lines = "\n".join(f"  {path}: {old!r} -> {new!r}" for path, old, new in refused)
            raise UserError(
                f"study {study.name} has results in {folder.root} that the changed file would mix with others:\n{lines}\n"
                "give the study another name, undo the change, or move that folder away"
            )
        if not changes:
            return study_id
    atomic.write_text(folder.definition, json.dumps({"id": study_id, "study": fields}, indent=1))
    return study_id


def recall(folder: StudyFolder) -> tuple[Study, str]:
    """The definition and id of a study that has been run."""
    if not folder.definition.exists():
        known = sorted(path.parent.name for path in folder.root.parent.glob("*/study.json"))
        raise UserError(
            f"study '{folder.root.name}': has not been run in {folder.root.parent}. Studies: {', '.join(known) or 'none'}."
            f"{did_you_mean(folder.root.name, known)}"
        )
    earlier = json.loads(folder.definition.read_text())
    return Study.model_validate(earlier["study"]), earlier["id"]


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(path, old value, new value) of everything that differs between two nested settings."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield path, old, new


def _compatible(change: tuple[str, Any, Any]) -> bool:
    path, old, new = change
    if path == "search.trials":
        return bool(new > old)
    # concurrent_trials decides which results a proposal may use, and workers the order of summation.
    return path.split(".")[0] in _CHANGEABLE and path not in ("compute.concurrent_trials", "compute.workers")
