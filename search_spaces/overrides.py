"""Dotted paths into nested settings: `weighting.gamma`, `search.trials`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from trainables import optimisers
from trainables.errors import ConfigError
from trainables.files.yaml_file import parse_value


def with_values(settings: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the settings with the values put at their paths.

    A new `kind` drops the settings of the old one (a Laplace b means nothing to a cosine schedule), but for those that all kinds of
    optimisers share; kinds come first.
    """
    result = copy.deepcopy(dict(settings))
    for path in sorted(values, key=lambda p: not p.endswith(".kind")):
        _put(result, path.split("."), values[path], path)
    return result


def _put(node: dict[str, Any], parts: list[str], value: Any, path: str) -> None:
    for i, part in enumerate(parts[:-1]):
        if isinstance(node.get(part), str):  # `schedule: laplace` is short for its kind
            node[part] = {"kind": node[part]}
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise ConfigError(f"{path}: '{'.'.join(parts[: i + 1])}' is the value {child!r}, so nothing can be set inside it")
        node = child
    if parts[-1] == "kind":
        _drop_settings(node, parts, value)
    node[parts[-1]] = value


def _drop_settings(node: dict[str, Any], parts: list[str], kind: Any) -> None:
    """Take out what belongs to another kind."""
    optimiser = parts[-2:-1] == ["optimiser"]
    if node.get("kind", optimisers.DEFAULT if optimiser else None) != kind:
        shared = optimisers.Optimiser.model_fields if optimiser else ()
        for name in node.keys() - shared:
            del node[name]


def parse_assignment(text: str) -> tuple[str, Any]:
    """`path=value` from the command line, the value as YAML."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise ConfigError(f"--set {text}: must have the form path=value, for example --set search.trials=4")
    return path.strip(), parse_value(value, f"--set {path.strip()}")


def assign(study: Mapping[str, Any], assignments: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a study with command-line values; below `space`, the whole rest of a path is one key."""
    result = copy.deepcopy(dict(study))
    for path, value in assignments.items():
        head, _, rest = path.partition(".")
        if head == "space" and rest:
            space = dict(result.get("space") or {})
            space[rest] = value
            result["space"] = space
        else:
            result = with_values(result, {path: value})
    return result
