"""Which combinations of a space are recipes: tried out on seeded draws before anything runs."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from search_spaces.distributions import Distribution, Scalar
from search_spaces.overrides import with_values
from search_spaces.space import in_order
from trainables.errors import ConfigError, did_you_mean
from trainables.explanations import explain
from trainables.recipe import Recipe

DRAWS = 1_000  # 0.1 s
_MOST_IMPOSSIBLE = 0.95  # beyond that a search would mostly draw in vain


@dataclass(frozen=True)
class Feasibility:
    """How many of a space's combinations are no recipe, and why."""

    draws: int
    reasons: tuple[tuple[str, int], ...] = ()  # with how many draws each rules out, most frequent first

    @property
    def impossible(self) -> float:
        """Share of the draws, in [0, 1]."""
        return sum(count for _, count in self.reasons) / self.draws

    def __str__(self) -> str:
        if not self.reasons:
            return f"all of {self.draws:,} drawn are possible"
        shown = "; ".join(f"{count / self.draws:.1%}: {reason}" for reason, count in self.reasons[:3])
        return f"{self.impossible:.1%} of {self.draws:,} drawn are impossible ({shown})"


def feasibility(space: Mapping[str, Distribution], base: Mapping[str, Any], where: str, points: int = 0) -> Feasibility:
    """Tries uniform draws; with `points`, draws of the grid with so many values per range.

    ConfigError where a draw sets a field that does not exist beside its other values, and where nearly all draws are impossible.
    """
    reasons: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for values in _draws(space, {}, points, DRAWS):
        problem = _problem(base, values)
        if problem is None:
            continue
        if problem.unknown_field:
            kinds = ", ".join(f"{path} = {value}" for path, value in values.items() if path.endswith("kind"))
            raise ConfigError(
                f"{where}: space: with {kinds or values}: {problem.reason} What exists for some kinds alone needs a condition (when)."
            )
        alike = re.sub(r"\d[\d.e+-]*", "#", problem.reason)
        reasons[alike] += 1
        examples.setdefault(alike, problem.reason)
    found = Feasibility(DRAWS, tuple((examples[alike].rstrip("."), count) for alike, count in reasons.most_common()))
    if found.impossible > _MOST_IMPOSSIBLE:
        raise ConfigError(f"{where}: space: of the combinations {found}: narrow the ranges, or give conditions (when)")
    return found


def check_edges(space: Mapping[str, Distribution], base: Mapping[str, Any], where: str) -> None:
    """ConfigError where an edge of an axis is no recipe, whatever the other values are, or where a condition can never hold."""
    for path in in_order(space):
        for needed, allowed in space[path].when.items():
            for value in allowed if isinstance(allowed, list) else [allowed]:
                if not space[needed].contains(value):
                    searched = space[needed].allowed
                    raise ConfigError(f"{where}: space.{path}: when: {needed} is never {value!r}; it is searched in: {searched}")
        for value in space[path].extremes():
            problems = [_problem(base, {**context, path: value}) for context in contexts(space, path)]
            problem = next((p for p in problems if p), None)
            if problem and (problem.unknown_field or not possible(space, base, {path: value})):
                raise ConfigError(f"{where}: space.{path} = {value}: recipe: {problem.reason}")


def check_point(space: Mapping[str, Distribution], base: Mapping[str, Any], point: Mapping[str, Scalar], where: str) -> None:
    """ConfigError where given values lie outside their ranges, or are no recipe whatever the values are that the point leaves out."""
    for path, value in point.items():
        if path not in space:
            raise ConfigError(f"{where}: '{path}' is not searched.{did_you_mean(path, space)}")
        if not space[path].contains(value):
            raise ConfigError(f"{where}: {path}: {value!r} was given: it is searched in: {space[path].allowed}")
        if not space[path].applies(dict(point)):
            conditions = ", ".join(f"{needed} = {allowed}" for needed, allowed in space[path].when.items())
            raise ConfigError(f"{where}: {path}: is searched only where {conditions}: give that in the same point, or leave {path} out")
    problem = _problem(base, point)
    if problem and not possible(space, base, point):
        raise ConfigError(f"{where}: {problem.reason}")


def possible(space: Mapping[str, Distribution], base: Mapping[str, Any], given: Mapping[str, Scalar]) -> bool:
    """Whether the given values are a recipe together with some draw of the others."""
    return any(_problem(base, values) is None for values in _draws(space, given, 0, DRAWS // 5))


@dataclass(frozen=True)
class _Problem:
    reason: str
    unknown_field: bool = False


def _problem(base: Mapping[str, Any], values: Mapping[str, Scalar]) -> _Problem | None:
    try:
        Recipe.model_validate(with_values(base, values))
    except ValidationError as error:
        lines = explain(error, "", Recipe).splitlines()
        return _Problem(lines[0], any(p["type"] == "extra_forbidden" for p in error.errors()))
    except ConfigError as error:
        return _Problem(str(error))
    return None


def _draws(space: Mapping[str, Distribution], given: Mapping[str, Scalar], points: int, number: int) -> Iterator[dict[str, Scalar]]:
    """Seeded draws of the whole space in which the given values, and what their conditions ask for, are held."""
    order, drawn = in_order(space), random.Random(0)  # noqa: S311 - nothing secret
    conditions = [contexts(space, path) for path in given]
    for _ in range(number):
        held = {path: value for condition in conditions for path, value in drawn.choice(condition).items()} | dict(given)
        values: dict[str, Scalar] = {}
        for path in order:
            if path in held:
                values[path] = held[path]
            elif space[path].applies(values):
                values[path] = drawn.choice(space[path].grid(points)) if points else space[path].at(drawn.random())
        yield values


def contexts(space: Mapping[str, Distribution], path: str) -> list[dict[str, Any]]:
    """Values of the conditions under which a path is searched, one context per allowed value."""
    found: list[dict[str, Any]] = [{}]
    for needed, allowed in space[path].when.items():
        values = allowed if isinstance(allowed, list) else [allowed]
        found = [{**outer, **inner, needed: v} for outer in found for v in values for inner in contexts(space, needed)]
    return found
