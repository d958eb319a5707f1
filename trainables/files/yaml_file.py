"""YAML as people write it: one clear message for a missing file, a syntax error or a key given twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from trainables.errors import ConfigError

_DEEPEST, _LARGEST, _LONGEST_NUMBER = 40, 200_000, 100  # levels; values, with all aliases written out; characters


class _Loader(yaml.SafeLoader):
    """Plain data only, and no key twice (YAML would keep the last and say nothing); bounded depth, and size with aliases written out."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._level = 0
        self._known: dict[yaml.Node, tuple[int, int]] = {}  # levels and values of what has been read to its end

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark = self.peek_event().start_mark
        self._level += 1
        if self._level > _DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"nested more than {_DEEPEST} levels deep", mark)
        alias = self.check_event(yaml.AliasEvent)
        node: Any = super().compose_node(parent, index)
        self._level -= 1
        if alias:
            if node not in self._known:
                raise yaml.composer.ComposerError(None, None, "an alias stands inside what it refers to", mark)
            return node
        inner = [self._known[child] for child in _children(node)]
        levels, values = 1 + max((lv for lv, _ in inner), default=0), 1 + sum(v for _, v in inner)
        if levels > _DEEPEST or values > _LARGEST:
            problem = f"with its aliases more than {_DEEPEST} levels deep, or more than {_LARGEST} values"
            raise yaml.composer.ComposerError(None, None, problem, mark)
        self._known[node] = levels, values
        if isinstance(node, yaml.ScalarNode):
            _check_scalar(node)
        return node


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    for value in node.value if isinstance(node, yaml.CollectionNode) else ():
        yield from value if isinstance(value, tuple) else (value,)


def _check_scalar(node: yaml.ScalarNode) -> None:
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in node.value):
        raise yaml.constructor.ConstructorError(None, None, "a character that no text may hold", node.start_mark)
    if node.tag.endswith((":int", ":float")) and len(node.value) > _LONGEST_NUMBER:
        raise yaml.constructor.ConstructorError(None, None, f"a number of more than {_LONGEST_NUMBER} characters", node.start_mark)


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str | int | float):
            problem = f"a {type(key).__name__} is used as a name: must be text"
            raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' is given twice", key_node.start_mark)
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
# YAML 1.1 takes on, off, yes and no for true and false, also where they are names; people mean the words, as in YAML 1.2.
_BOOLEAN = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [resolver for resolver in found if resolver[0] != _BOOLEAN] for first, found in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOLEAN, re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
# YAML 1.1 takes 1e-3, without a dot, for text; people mean the number.
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$"), list("-+0123456789"))


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
    except (ValueError, OverflowError) as error:  # a date such as 2024-13-45
        raise ConfigError(f"{where}: not valid YAML: {error}") from None
