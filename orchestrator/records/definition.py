"""A study's definition in its folder: which changes of the file may go on with its results, and which would mix them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator.records.folders import StudyFolder
from search_spaces.study import Study
from trainables.errors import UserError, did_you_mean
from trainables.files import document

_CHANGEABLE = {"description", "compute"}  # fields that cannot mix results; search.trials may grow


@dataclass(frozen=True)
class Definition:
    """What a study's folder says of it."""

    study: Study
    id: str
    search_storage: str = ""  # where Optuna keeps its trials, without a password; empty for the journal in the folder


def define(study: Study, folder: StudyFolder, search_storage: str = "") -> Definition:
    """Write the study's definition, or check that it fits the one there."""
    if not folder.definition.exists() and not folder.trials():
        return _write(Definition(study, uuid.uuid4().hex, search_storage), folder)
    earlier = recall(folder)
    if earlier.search_storage != search_storage:
        before, now = (place or folder.journal for place in (earlier.search_storage, search_storage))
        raise UserError(f"study {study.name} keeps its search in {before}, not in {now}: give the same --search-storage as before")
    # Fields that are new since then have their defaults.
    changes = list(differences(earlier.study.model_dump(mode="json"), study.model_dump(mode="json")))
    refused = [c for c in changes if not _compatible(c)]
    if refused:
        lines = "\n".join(f"  {path}: {old!r} -> {new!r}" for path, old, new in refused)
        raise UserError(
            f"study {study.name} has results in {folder.root} that the changed file would mix with others:\n{lines}\n"
            "give the study another name, undo the change, or move that folder away"
        )
    return _write(Definition(study, earlier.id, search_storage), folder) if changes else earlier


def recall(folder: StudyFolder) -> Definition:
    """The definition of a study that has been run."""
    if not folder.definition.exists() and not folder.trials():
        known = sorted(path.parent.name for path in folder.root.parent.glob("*/study.json"))
        raise UserError(
            f"study '{folder.root.name}': has not been run in {folder.root.parent}. Studies: {', '.join(known) or 'none'}."
            f"{did_you_mean(folder.root.name, known)}"
        )
    known_fields = document.read(folder.definition, f"restore it, or move the folder {folder.root} away; what was trained is in the store")
    return Definition(**{**known_fields, "study": Study.model_validate(known_fields["study"])})


def _write(definition: Definition, folder: StudyFolder) -> Definition:
    document.write(folder.definition, {**vars(definition), "study": definition.study.model_dump(mode="json")}, indent=1)
    return definition


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
