"""A study's definition in its folder: which changes of the file may go on with its results, and which would mix them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from orchestrator.records.folders import StudyFolder
from orchestrator.records.stages import stages
from search_spaces.designs import Design
from search_spaces.study import Study, unpacked
from search_spaces.versions import up_to_date, version
from trainables.errors import UserError, did_you_mean
from trainables.explanations import explain
from trainables.files import document
from trainables.plugins.code import code_of_plugins

# Fields that cannot mix results.
_CHANGEABLE = ("description", "published", "search.hours", "search.gpu_hours", "compute.", "tracking.", "design.baseline",
               "design.smallest_effect")


@dataclass(frozen=True)
class Definition:
    """What a study's folder says of it."""

    study: Study
    id: str
    plugins: Mapping[str, str] = field(default_factory=dict)  # hashes of their source by name


def define(study: Study, folder: StudyFolder) -> Definition:
    """Write the study's definition, or check that it fits the one there."""
    if not folder.definition.exists() and not folder.trials():
        return _write(Definition(study, uuid.uuid4().hex, code_of_plugins(study.plugins)), folder)
    earlier = recall(folder)
    plugins = code_of_plugins(study.plugins)
    changes = list(differences(earlier.study.meaning, study.meaning))
    changes += [(f"plugins.{name}", earlier.plugins[name][:12], code[:12]) for name, code in plugins.items()
                if earlier.plugins.get(name, code) != code]
    refused = [(c, reason) for c in changes if (reason := _refusal(c, earlier.study, folder)) is not None]
    if refused:
        lines = "\n".join(f"  {path}: {old!r} -> {new!r}{reason}" for (path, old, new), reason in refused)
        raise UserError(
            f"study {study.name} has results in {folder.root} that the changed file would mix with others:\n{lines}\n"
            "give the study another name, undo the change, or move that folder away"
        )
    if not changes and plugins == earlier.plugins:
        return earlier
    return _write(Definition(_in_order(study, earlier.study), earlier.id, plugins), folder)


def recall(folder: StudyFolder) -> Definition:
    """The definition of a study that has been run."""
    if not folder.definition.exists() and not folder.trials():
        known = sorted(path.parent.name for path in folder.root.parent.glob("*/study.json"))
        raise UserError(
            f"study '{folder.root.name}': has not been run in {folder.root.parent}. Studies: {', '.join(known) or 'none'}."
            f"{did_you_mean(folder.root.name, known)}"
        )
    known_fields = document.read(folder.definition, f"restore it, or move the folder {folder.root} away; what was trained is in the store")
    try:
        written = {"version": known_fields.pop("version", 1), **known_fields.pop("study")}
        study = unpacked(up_to_date(written, str(folder.definition)))
        return Definition(study, **known_fields)
    except (ValidationError, TypeError, KeyError) as error:
        reason = explain(error, "", Study) if isinstance(error, ValidationError) else str(error)
        raise UserError(
            f"{folder.definition}: is no study of this version ({reason}); "
            f"run it with the version that wrote it, or move {folder.root} away"
        ) from None


def _write(definition: Definition, folder: StudyFolder) -> Definition:
    document.write(folder.definition, {**vars(definition), "study": definition.study.packed, "version": version()}, indent=1)
    return definition


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(path, old value, new value) of everything that differs between two nested settings."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield path, old, new


def _in_order(study: Study, earlier: Study) -> Study:
    """The changed study, with its space and variants in the order in which trials have been numbered so far."""
    fields, before = study.model_dump(), earlier.model_dump()
    fields["space"] = before["space"]
    if fields["design"]:
        fields["design"] = {**before["design"], **{name: fields["design"][name] for name in Design.model_fields}}
    return Study.model_validate(fields)


def _refusal(change: tuple[str, Any, Any], earlier: Study, folder: StudyFolder) -> str | None:
    """Why a change would mix results, as an addition to its line (perhaps empty); None where it would not."""
    path, old, new = change
    if path.startswith(("chain", "search.trials")) and stages(folder):
        return " (the chain has begun, around what the search had found by then)"
    if path == "chain" and old is None:
        return None
    if path == "search.trials":
        values = [trial.record.values for trial in folder.trials() if trial.record.training != "infeasible"]
        begun = len({json.dumps({**v, "seed": 0}, sort_keys=True) for v in values}) if earlier.search_seeds else len(values)
        return None if new >= begun else f" ({begun} have begun already)"
    if path == "design.seeds" and earlier.design and earlier.design.looks:
        return " (the looks of a race are planned before it begins)"
    if path == "design.seeds" and isinstance(old, int) and isinstance(new, int):  # seed by seed: the trials so far stay what they are
        return None if new >= old else " (seeds can be added, not taken away)"
    if path.startswith("search.seeds"):
        return " (the sampler has learnt from means over these seeds)"
    if path == "compute.concurrent_trials":  # in a fixed order it decides which results a proposal uses
        return None if earlier.asynchronous else " (it decides which results a trial is proposed from, unless search.order is asynchronous)"
    if path == "compute.workers" or (path == "compute.cpus_per_worker" and not earlier.compute.gpus_per_worker):
        return " (sums are taken in another order)"
    if path == "compute.gpus_per_worker" and bool(old) != bool(new):
        return " (another device rounds otherwise)"
    return None if path.startswith(_CHANGEABLE) else ""
