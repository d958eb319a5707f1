"""What of a study has to fit together: search settings with the recipe, and with what is searched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from search_spaces.designs import DesignTrial
from search_spaces.distributions import Categorical, Distribution, IntRange
from search_spaces.feasibility import Combinations
from search_spaces.search import Grid, Search
from trainables.errors import ConfigError, did_you_mean
from trainables.recipe import Recipe

COSTS = {"macs", "parameters", "train_seconds", "gpu_seconds"}  # what every trial costs, beside its scores
_OF_DESIGNS = {"hours", "gpu_hours", "order"}  # settings of a search that designs have too
_OF_SCORES = ("evaluation.features", "evaluation.also", "evaluation.sample_metrics")
_MOST_VALUES = 10_000  # of a range that are looked at one by one


def check_search(search: Search, chain: bool, combinations: Combinations, base: Recipe, where: str) -> None:
    """ConfigError where the search asks for what the trials cannot give."""
    space = combinations.space
    _check_stopping(search, space, base, where)
    if not space and search.trials > 1:
        raise ConfigError(
            f"{where}: space: nothing is searched, so that all {search.trials} trials would be the same recipe: "
            "set search.trials: 1, or search `seed` to repeat it, for example space: {seed: [0, 1, 2]}"
        )
    if chain and not space:
        raise ConfigError(f"{where}: chain: needs a space that is searched first")
    if chain and len(search.objectives) > 1:
        raise ConfigError(
            f"{where}: chain: {len(search.objectives)} objectives have no one winner; give one, and bound the others (search.constraints)"
        )
    if chain and "seed" in space:
        raise ConfigError(f"{where}: chain and space.seed were given: seeds are repeated, not searched; use search.seeds")
    if search.seeds != 1 and "seed" in space:
        raise ConfigError(f"{where}: search.seeds and space.seed were given: seeds are repeated, not searched; leave space.seed out")
    for path in space:
        if path.startswith(_OF_SCORES):
            raise ConfigError(f"{where}: space.{path}: scores of different feature spaces or metrics do not compare; give it in the base")
    if isinstance(search.sampler, Grid) and any(distribution.when for distribution in space.values()):
        raise ConfigError(f"{where}: search.sampler: grid needs a space without conditions (`when`): use tpe or random")
    known = base.metric_names | COSTS
    for metric in [o.metric for o in search.objectives] + [c.metric for c in search.constraints]:
        if metric not in known:
            allowed = ", ".join(sorted(known))
            raise ConfigError(f"{where}: search: metric '{metric}' is not this study's. Allowed: {allowed}.{did_you_mean(metric, known)}")
    for number, point in enumerate(search.points):
        combinations.check_point(point, f"{where}: search.points[{number}]")


def check_design(trials: Sequence[DesignTrial], search: Search, combinations: Combinations, where: str) -> None:
    """ConfigError where a variant is no recipe, equals another, or a setting of the search would have no effect."""
    if combinations.space:
        raise ConfigError(f"{where}: space and design were given: a study is a search or a design; put the other into a study of its own")
    for name, field in Search.model_fields.items():
        if name not in _OF_DESIGNS and getattr(search, name) != field.get_default(call_default_factory=True):
            raise ConfigError(
                f"{where}: search.{name}: has no effect beside a design, which trains every variant on every seed to its end: leave it out"
            )
    variants: dict[str, str] = {}
    for trial in trials:
        if any(path.startswith(_OF_SCORES) for path in trial.values):
            raise ConfigError(f"{where}: design: variant {trial.variant}: scores of different feature spaces or metrics do not compare; "
                              "give evaluation in the base")
        recipe = combinations.recipe(trial.values, f"{where}: design: variant {trial.variant}")
        other = variants.setdefault(recipe.variant_key, trial.variant)
        if other != trial.variant:
            raise ConfigError(f"{where}: design: variants {other} and {trial.variant} are the same recipe")


def _check_stopping(search: Search, space: Mapping[str, Distribution], base: Recipe, where: str) -> None:
    """Trials are compared at the images at which every one of them is scored, and stopped before their end."""
    grace = getattr(search.early_stopping, "grace_images", 0)
    if not grace:
        return
    given = f"{where}: search.early_stopping.grace_images: {grace} was given: it must be"
    for every in values_of(space, "evaluation.every", base.evaluation.every):
        if grace % every:
            raise ConfigError(f"{given} a multiple of evaluation.every = {every}, because trials are compared where they are scored")
    shortest = min(values_of(space, "duration.images", base.duration.images))
    if grace >= shortest and "duration.images" in space:
        raise ConfigError(f"{given} below the shortest duration.images = {shortest}, or trials of that length could never be stopped")


def values_of(space: Mapping[str, Distribution], path: str, base: Any) -> list[int]:
    """Values that a whole number of the recipe may have, `base` where it is not searched; of long ranges the lowest and the last."""
    axis = space.get(path)
    return [base] if axis is None else list(_values(axis)) + ([base] if axis.when else [])


def _values(axis: Distribution) -> Iterator[int]:
    match axis:
        case Categorical(choices=choices):
            yield from (int(c) for c in choices if isinstance(c, int | float))
        case IntRange(low=low, high=high, step=step):
            yield from islice(range(low, high + 1, step), _MOST_VALUES)
            yield int(axis.at(1.0))
        case _:
            yield from (int(edge) for edge in axis.extremes() if isinstance(edge, int | float))
