"""The documents that a study keeps in MLflow as artifacts, and that reports are made of; each notices if it was damaged."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trainables.files.checksum import checked, with_checksum

STUDY, TRIAL = "study.json", "trial.json"
EMA_LENGTHS = "ema_lengths.json"  # a table for MLflow's own pages
SHEETS = "sheets"  # folder of contact sheets that compare a trial's images
CHANGES = "changes.diff"  # what the code had besides its commit
_LONGEST_NAME = 200
_POINT = ("solver", "images", "guidance_weight", "guide_sigma_rel", "sigma_rel", "standard_error")


def pack(content: Mapping[str, Any]) -> str:
    return with_checksum(content)


def unpack(text: str) -> dict[str, Any]:
    """ValueError where the text is damaged."""
    return checked(text)


def flatten(fields: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted paths with text values, as MLflow wants parameters."""
    flat: dict[str, str] = {}
    for key, value in fields.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def unflatten(flat: Mapping[str, str], below: str = "") -> dict[str, Any]:
    """The settings (below a path) again, from their texts; empty where there are none."""
    nested: dict[str, Any] = {}
    prefix = f"{below}." if below else ""
    for path, text in flat.items():
        if path.startswith(prefix):
            *owners, name = path.removeprefix(prefix).split(".")
            owner = nested
            for part in owners:
                owner = owner.setdefault(part, {})
            owner[name] = _value(text)
    return nested


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def with_interval(importance: Sequence[float] | float) -> tuple[float, float, float]:
    """A searched parameter's share and its interval; earlier versions recorded the share alone."""
    share, low, high = (importance, importance, importance) if isinstance(importance, int | float) else importance
    return share, low, high


def reused_text(reused: Mapping[str, Any]) -> str:
    """Where a trial's training was taken over from; empty where it was trained for itself."""
    if not reused:
        return ""
    study, trial, images = (reused.get(key, "?") for key in ("study", "trial", "images"))
    return f"trained in study {study}, trial {trial}, reused (up to {images} images)"


def variant_name(values: Mapping[str, Any], seed: int) -> str:
    """What was varied, short: `cosine gamma=3.95 lr=0.043 s0`."""
    last = [path.removesuffix(".kind").rpartition(".")[2] for path in values]
    words = []
    for path, value in values.items():
        if path.endswith(".kind"):
            words.append(str(value))
            continue
        name = path.rpartition(".")[2]
        words.append(f"{name if last.count(name) == 1 else '.'.join(path.split('.')[-2:])}={short(value)}")
    return " ".join([*words, f"s{seed}"])[:_LONGEST_NAME]


def short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def ema_table(sweeps: Iterable[Mapping[str, Any]]) -> str:
    """A row per point of a trial's sweeps, in the form in which `mlflow.log_table` writes a table."""
    rows = [
        {**{key: sweep["solver"] if key == "solver" else point.get(key) for key in _POINT}, **point["metrics"]}
        for sweep in sweeps for point in sweep["points"]
    ]
    return table(rows)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows in that form."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    data = [[_finite(row.get(column)) for column in columns] for row in rows]
    return json.dumps({"columns": columns, "data": data})


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
