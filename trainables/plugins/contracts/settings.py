"""What the settings of every method must do."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from trainables.explanations import explain
from trainables.method import Method
from trainables.plugins.contracts.requirement import Broken, require
from trainables.plugins.registry import Plugin, family_of, kind_of

_PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def example(cls: Any) -> Method:
    """The settings that contracts are checked with: `cls.example` over the defaults."""
    made: Method = cls(**getattr(cls, "example", {}))
    return made


def at_edges(cls: Any) -> Iterator[tuple[str, Method]]:
    """Settings at either end of each default search range, the others by default, with what is at its end."""
    for name, search in _ranges(cls):
        for value in (search["low"], search["high"]):
            yield f"with {name} = {value}: ", cls(**{**getattr(cls, "example", {}), name: value})


def _ranges(cls: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in cls.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and isinstance(search := extra.get("search"), dict):
            yield name, search


def of_class(cls: Any, plugin: Plugin) -> tuple[Any, ...]:
    """Checks that come before any settings are made."""

    def source(cls: Any) -> None:
        """nothing is pickled"""
        for file, text in plugin.files.items():
            for node in ast.walk(ast.parse(text)):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else [str(getattr(node, "module", ""))]
                found = {name.partition(".")[0] for name in names} & _PICKLES if isinstance(node, ast.Import | ast.ImportFrom) else set()
                require(not found, f"{file} imports {', '.join(sorted(found))}: a pickle can run anything; use safetensors or JSON")

    return source, is_described, has_defaults, has_valid_ranges


def is_described(cls: Any) -> None:
    """the class has a docstring, and each field a description"""
    undescribed = [name for name, field in cls.model_fields.items() if name != "kind" and not field.description]
    missing = [
        *([] if (cls.__doc__ or "").strip() else ["there is no docstring; its first paragraph is what the reference says of it"]),
        *([f"no description of {', '.join(undescribed)}: give Field(..., description=...)"] if undescribed else []),
    ]
    require(not missing, ", and ".join(missing))


def has_defaults(cls: Any) -> None:
    """its settings can be made"""
    try:
        example(cls)
    except ValidationError as error:
        hint = "Fields without a default need `example: ClassVar = {field: value}` for these checks."
        raise Broken(f"{explain(error, '', cls)} {hint}") from None


def has_valid_ranges(cls: Any) -> None:
    """default search ranges are valid"""
    for name, search in _ranges(cls):
        low, high, log = search["low"], search["high"], search["log"]
        require(low < high, f"{name}: low = {low} is not below high = {high}")
        require(not log or low > 0, f"{name}: a logarithmic range needs low > 0, and low is {low}")
        for value in (low, high):
            try:
                cls(**{**getattr(cls, "example", {}), name: value})
            except ValidationError as error:
                raise Broken(f"{name} = {value} is in its range and refused: {explain(error, '', cls)}") from None


def survives_a_round_trip(settings: Method) -> None:
    """settings survive a round trip through JSON"""
    text = json.dumps(settings.model_dump(mode="json"))
    again = type(settings).model_validate(json.loads(text))
    require(again == settings, f"{settings!r} came back as {again!r}")
    require(json.dumps(again.model_dump(mode="json")) == text, "the text differs the second time")


def is_found_by_name(settings: Method) -> None:
    """recipes find it by its kind"""
    from trainables.recipe import FAMILIES

    interface, kind = family_of(type(settings)), kind_of(type(settings))
    family = next(kinds for kinds in FAMILIES.values() if getattr(kinds, "interface", None) is interface)
    require(family.get(kind) is type(settings), f"'{kind}' stands for {family.get(kind)}")


def is_frozen(settings: Method) -> None:
    """settings are frozen, and refuse what they do not know"""
    require(settings.model_config.get("frozen") and settings.model_config.get("extra") == "forbid",
            "model_config has been changed: leave frozen and extra as they are")


CHECKS = (survives_a_round_trip, is_found_by_name, is_frozen)
