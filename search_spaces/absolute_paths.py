"""Relative files of a study are those of the folder in which it was loaded, wherever it is run from afterwards."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from search_spaces.designs import DesignTrial
from search_spaces.distributions import Categorical, Distribution
from search_spaces.feasibility import contexts
from search_spaces.overrides import with_values
from trainables.errors import ConfigError
from trainables.recipe import Recipe, make_recipe


def with_absolute_paths(fields: dict[str, Any], space: Mapping[str, Distribution], base: Recipe) -> dict[str, Any]:
    """Settings of a study, whose paths in the base, in choices, conditions and given points are absolute.

    `fields` is a study's `model_dump`; a recipe's own files are told by having been made absolute in the recipe.
    """
    renamed = {path: names for path, axis in space.items() if (names := _renamed(path, axis, space, fields["base"]))}
    result = {**fields, "base": _absolute(fields["base"], base.model_dump(mode="json"))}
    if not renamed:
        return result
    result["space"] = {path: dict(axis) for path, axis in fields["space"].items()}
    for path, axis in result["space"].items():
        if path in renamed:
            axis["choices"] = [renamed[path].get(choice, choice) for choice in axis["choices"]]
        axis["when"] = {name: _each(allowed, renamed.get(name, {})) for name, allowed in axis["when"].items()}
    points = [{path: _each(value, renamed.get(path, {})) for path, value in point.items()} for point in fields["search"]["points"]]
    result["search"] = {**fields["search"], "points": points}
    return result


def with_absolute_design(fields: dict[str, Any], trials: Sequence[DesignTrial], base: Recipe) -> dict[str, Any]:
    """Settings of a study with a design, whose paths in the base and in the variants' changes are absolute."""
    recipes = (make_recipe(with_values(fields["base"], trial.values)) for trial in trials)
    known = {str(value) for recipe in recipes for value in _leaves(recipe.model_dump(mode="json"))}
    return {**fields, "base": _absolute(fields["base"], base.model_dump(mode="json")), "design": _found(fields["design"], known)}


def _leaves(node: Any) -> Iterator[Any]:
    if isinstance(node, dict | list | tuple):
        for part in node.values() if isinstance(node, dict) else node:
            yield from _leaves(part)
    else:
        yield node


def _found(given: Any, known: Collection[str]) -> Any:
    """What was given, with the texts that are known as absolute paths replaced by these."""
    if isinstance(given, dict):
        return {key: _found(value, known) for key, value in given.items()}
    if isinstance(given, list | tuple):
        return [_found(value, known) for value in given]
    return str(Path(given).absolute()) if isinstance(given, str) and given and str(Path(given).absolute()) in known else given


def _renamed(path: str, axis: Distribution, space: Mapping[str, Distribution], base: Mapping[str, Any]) -> dict[Any, str]:
    """Absolute paths by the choices that stand for them."""
    found: dict[Any, str] = {}
    for choice in axis.choices if isinstance(axis, Categorical) else ():
        for context in contexts(space, path) if isinstance(choice, str) else ():
            try:
                node: Any = make_recipe(with_values(base, {**context, path: choice})).model_dump(mode="json")
            except ConfigError:  # possible beside other values alone
                continue
            for part in path.split("."):
                node = node.get(part) if isinstance(node, dict) else None
            if _absolute(choice, node) != choice:
                found[choice] = str(node)
    return found


def _absolute(given: Any, known: Any) -> Any:
    """What was given, with the texts that the recipe knows as their absolute paths replaced by these."""
    if isinstance(given, dict) and isinstance(known, dict):
        return {key: _absolute(value, known.get(key)) for key, value in given.items()}
    if isinstance(given, list | tuple) and isinstance(known, list) and len(given) == len(known):
        return [_absolute(value, other) for value, other in zip(given, known, strict=True)]
    return known if isinstance(given, str) and isinstance(known, str) and known == str(Path(given).absolute()) else given


def _each(value: Any, names: Mapping[Any, str]) -> Any:
    if isinstance(value, list):
        return [_each(v, names) for v in value]
    return names.get(value, value)
