"""YAML as people write it: one clear message for a missing file, a syntax error or a key given twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from trainables.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """Plain data only, and no key twice (YAML would keep the last and say nothing)."""


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, str | int | float) and key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' is given twice", key_node.start_mark)
        seen.add(key if isinstance(key, str | int | float) else id(key))
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load_mapping(path: Path, what: str) -> dict[str, Any]:
    """The file's mapping; `what` names the kind of file in messages."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise ConfigError(f"{what} {path}: cannot be read ({reason})") from None
    return parse_mapping(text, f"{what} {path}")


def parse_mapping(text: str, where: str) -> dict[str, Any]:
    value = parse_value(text, where)
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: must be a mapping of fields to values; a {type(value).__name__} was given")
    return value


def parse_value(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - the loader is a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{where}{place}: not valid YAML: {problem}") from None
