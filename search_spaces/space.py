"""A space: recipe paths with their ranges and conditions, compiled to a define-by-run function for Optuna."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from search_spaces.distributions import AnyDistribution, Distribution, Scalar
from trainables.errors import ConfigError, did_you_mean
from trainables.method import Method
from trainables.recipe import FAMILIES, Recipe

if TYPE_CHECKING:
    import optuna

Space = dict[str, AnyDistribution]


def choose(space: Mapping[str, Distribution], value_of: Callable[[str], Scalar]) -> dict[str, Scalar]:
    """Values for every path whose conditions hold, asked for in the order of the conditions."""
    chosen: dict[str, Scalar] = {}
    for path in in_order(space):
        if space[path].applies(chosen):
            chosen[path] = value_of(path)
    return chosen


def suggest(space: Mapping[str, Distribution], trial: optuna.trial.BaseTrial) -> dict[str, Scalar]:
    """Values that an Optuna trial suggests for every path whose conditions hold."""
    return choose(space, lambda path: space[path].suggest(trial, path))


def in_order(space: Mapping[str, Distribution]) -> list[str]:
    """Paths such that each comes after those that its conditions name."""
    ordered: list[str] = []
    waiting = list(space)
    while waiting:
        ready = [p for p in waiting if all(needed in ordered for needed in space[p].when)]
        if not ready:
            unknown = sorted({n for p in waiting for n in space[p].when} - set(space))
            if unknown:
                raise ConfigError(f"space: a condition names '{unknown[0]}', which is not searched.{did_you_mean(unknown[0], space)}")
            raise ConfigError(f"space: the conditions of {', '.join(waiting)} go round in a circle")
        ordered += ready
        waiting = [p for p in waiting if p not in ready]
    return ordered


def searched_methods(space: Mapping[str, Distribution]) -> list[type[Method]]:
    """The classes of the methods whose kinds are searched."""
    found = []
    for path, axis in space.items():
        *owner, name = path.split(".")
        family = FAMILIES.get(owner[-1], {}) if owner and name == "kind" else {}
        found += [family[choice] for choice in getattr(axis, "choices", ()) if choice in family]
    return found


def default_range(path: str, base: Recipe, kinds: list[Any]) -> dict[str, Any]:
    """The default search range that the method itself states for a field (`auto` in a study file).

    `kinds` are those with which it is searched, the base's own where there are none; of several ranges the one that covers them all.
    """
    *owner, name = path.split(".")
    node: Any = base
    for part in owner:
        node = getattr(node, part, None)
    family = FAMILIES.get(owner[-1], {}) if owner else {}
    methods = [family[k] for k in kinds if isinstance(k, str) and k in family] or [type(node)]
    ranges = [r for r in (_stated_range(method, name) for method in methods) if r]
    if not ranges:
        raise ConfigError(f"space.{path}: has no default range; give low and high, or a list of choices")
    return {"low": min(r["low"] for r in ranges), "high": max(r["high"] for r in ranges), "log": all(r["log"] for r in ranges)}


def _stated_range(method: type, name: str) -> dict[str, Any] | None:
    field = getattr(method, "model_fields", {}).get(name)
    extra = field.json_schema_extra if field else None
    return dict(extra["search"]) if isinstance(extra, dict) and "search" in extra else None
