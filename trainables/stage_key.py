"""What decides the result of training, in one key: runs with the same key are alike as far as both go. No torch here.

The key covers the recipe without its length (with it, where the learning rate depends on it), the content of data and weights (not where
they lie), the source of the methods in use, the number of ranks, the kind of device, and the version of the training loop's own numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from trainables.data import DataSource
from trainables.errors import UserError
from trainables.evaluation.settings import Evaluation
from trainables.files.content import content_hash
from trainables.method import Settings
from trainables.method_code import code_hash
from trainables.metrics import Features
from trainables.recipe import Recipe

# Version of everything that the loop computes and no method does: steps, averages, intermediate scores. A test compares them with a
# stored trace and says when to raise it; results of other versions are then no longer taken over.
NUMERICS = 2

# Fields of `evaluation` that sweeps alone look at. The others decide intermediate scores, and with them early stopping.
_OF_SWEEPS = ("also", "sample_metrics", "samples", "compile")


def stage_key(recipe: Recipe, cache: Path, ranks: int = 1, device: str = "cpu") -> str:
    """SHA-256, hexadecimal, of everything that decides a training result but its length, unless the learning rate depends on it.

    `ranks` counts data-parallel processes, `device` is torch's type of device.  Hashes of files are remembered in `cache`.
    A file that cannot be read counts by its error, which training will tell.
    """
    fields = recipe.model_dump(mode="json")
    del fields["duration"]["checkpoint_minutes"]
    fields.pop("plugins", None)  # the source of those in use counts, wherever it lies
    if not recipe.optimiser.depends_on_length:
        del fields["duration"]["images"]
    for name in _OF_SWEEPS:
        del fields["evaluation"][name]
    everything = {
        "numerics": NUMERICS, "ranks": ranks, "device": device, "code": _code(recipe),
        "data": _content(recipe.data, fields["data"], cache),
        "weights": _content(recipe.evaluation.features, fields["evaluation"]["features"], cache),
        "recipe": fields,  # without the paths, which the lines above have taken out
    }
    return hashlib.sha256(json.dumps(everything, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _code(recipe: Recipe) -> str:
    """Of all methods in use, with what steps beside the loop for them."""
    parts = list(_parts(recipe))
    kinds = (part.kind for part in parts if hasattr(part, "kind"))
    return code_hash((type(part) for part in parts), (f"trainables.training.beside.{kind}" for kind in kinds))


def _content(source: DataSource | Features, fields: dict[str, Any], cache: Path) -> dict[str, str]:
    """Hashes in place of the fields that name files."""
    try:
        files = source.files
    except UserError as error:
        return {"error": str(error)}
    found = {"stated": source.stated} if isinstance(source, DataSource) else {}
    for name, paths in files.items():
        del fields[name]
        try:
            found[name] = content_hash(paths, cache) if paths else ""
        except UserError as error:
            found[name] = str(error)
    return found


def _parts(settings: Settings) -> Iterator[Settings]:
    """The settings within settings, but for those that sweeps alone look at."""
    yield settings
    for name, value in settings:
        if isinstance(settings, Evaluation) and name in _OF_SWEEPS:
            continue
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, BaseModel):
                yield from _parts(part)  # type: ignore[arg-type]
