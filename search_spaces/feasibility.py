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
from trainables.recipe import Recipe, make_recipe

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


@dataclass(frozen=True)
class Combinations:
    """Every trial that a study may have."""

    space: Mapping[str, Distribution]
    base: Mapping[str, Any]  # the recipe as written
    workers: int = 1  # among whom a batch is divided
    points: int = 0  # values per range of a grid; 0 where all values of a range may be drawn
    device: str = "cpu"  # torch's type of device that trials are trained on

    def feasibility(self, where: str) -> Feasibility:
        """Tries uniform draws.

        ConfigError where a draw sets a field that does not exist beside its other values, and where nearly all draws are impossible.
        """
        reasons: Counter[str] = Counter()
        examples: dict[str, str] = {}
        for values in self._draws({}, DRAWS):
            problem = self._problem(values)
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

    def check_edges(self, where: str) -> None:
        """ConfigError where an edge of an axis is no recipe, whatever the other values are, or where a condition can never hold."""
        space = self.space
        for path in in_order(space):
            for needed, allowed in space[path].when.items():
                for value in allowed if isinstance(allowed, list) else [allowed]:
                    if not space[needed].contains(value):
                        searched = space[needed].allowed
                        raise ConfigError(f"{where}: space.{path}: when: {needed} is never {value!r}; it is searched in: {searched}")
            for value in space[path].extremes():
                problems = [self._problem({**context, path: value}) for context in contexts(space, path)]
                problem = next((p for p in problems if p), None)
                if problem and (problem.unknown_field or not self.possible({path: value})):
                    raise ConfigError(f"{where}: space.{path} = {value}: recipe: {problem.reason}")

    def check_point(self, point: Mapping[str, Scalar], where: str) -> None:
        """ConfigError where given values lie outside their ranges, or are no recipe whatever the values are that the point leaves out."""
        space = self.space
        for path, value in point.items():
            if path not in space:
                raise ConfigError(f"{where}: '{path}' is not searched.{did_you_mean(path, space)}")
            if not space[path].contains(value):
                raise ConfigError(f"{where}: {path}: {value!r} was given: it is searched in: {space[path].allowed}")
            if not space[path].applies(dict(point)):
                conditions = ", ".join(f"{needed} = {allowed}" for needed, allowed in space[path].when.items())
                raise ConfigError(f"{where}: {path}: is searched only where {conditions}: give that in the same point, or leave {path} out")
        problem = self._problem(point)
        if problem and not self.possible(point):
            raise ConfigError(f"{where}: {problem.reason}")

    def possible(self, given: Mapping[str, Scalar]) -> bool:
        """Whether the given values are a recipe together with some draw of the others."""
        return any(self._problem(values) is None for values in self._draws(given, DRAWS // 5))

    def recipe(self, values: Mapping[str, Scalar], what: str) -> Recipe:
        """The recipe of a trial with these values; ConfigError where they cannot be combined."""
        recipe = make_recipe(with_values(self.base, values), what)
        if unfit := self._unfit(recipe):
            raise ConfigError(f"{what}: {unfit}")
        return recipe

    def _problem(self, values: Mapping[str, Scalar]) -> _Problem | None:
        try:
            recipe = Recipe.model_validate(with_values(self.base, values))
        except ValidationError as error:
            lines = explain(error, "", Recipe).splitlines()
            return _Problem(lines[0], any(p["type"] == "extra_forbidden" for p in error.errors()))
        except ConfigError as error:
            return _Problem(str(error))
        unfit = self._unfit(recipe)
        return _Problem(unfit) if unfit else None

    def _unfit(self, recipe: Recipe) -> str:
        """Why trials of this study cannot be trained with it; empty where they can."""
        batch, workers = recipe.duration.batch_size, max(self.workers, 1)
        undivided = f"duration.batch_size = {batch} cannot be divided among {workers} workers." if batch % workers else ""
        return undivided or recipe.arithmetic.problem_on(self.device)

    def _draws(self, given: Mapping[str, Scalar], number: int) -> Iterator[dict[str, Scalar]]:
        """Seeded draws of the whole space in which the given values, and what their conditions ask for, are held."""
        space, order, drawn = self.space, in_order(self.space), random.Random(0)  # noqa: S311 - nothing secret
        conditions = [contexts(space, path) for path in given]
        for _ in range(number):
            held = {path: value for condition in conditions for path, value in drawn.choice(condition).items()} | dict(given)
            values: dict[str, Scalar] = {}
            for path in order:
                if path in held:
                    values[path] = held[path]
                elif space[path].applies(values):
                    values[path] = drawn.choice(space[path].grid(self.points)) if self.points else space[path].at(drawn.random())
            yield values


@dataclass(frozen=True)
class _Problem:
    reason: str
    unknown_field: bool = False


def contexts(space: Mapping[str, Distribution], path: str) -> list[dict[str, Any]]:
    """Values of the conditions under which a path is searched, one context per allowed value."""
    found: list[dict[str, Any]] = [{}]
    for needed, allowed in space[path].when.items():
        values = allowed if isinstance(allowed, list) else [allowed]
        found = [{**outer, **inner, needed: v} for outer in found for v in values for inner in contexts(space, needed)]
    return found
