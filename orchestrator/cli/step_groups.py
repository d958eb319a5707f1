"""The part of a plan that is about training in stages: the groups of noise levels, guides, and the images of all stages."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from search_spaces.study import Study
from trainables.errors import ConfigError
from trainables.evaluation.cost import network_cost
from trainables.experts.allocation import uniform
from trainables.experts.groups import group_of, levels_of, split_levels
from trainables.experts.macs import MacsByWidth, macs_by_width
from trainables.recipe import Recipe
from trainables.stages.composition import base_recipe, expert_images, experts_of, guide_recipe, total_images

_UNKNOWN = "known only when the base is trained"
_PATHS = ("duration.images", "duration.batch_size", "experts.groups", "experts.fine_tune.share")  # that images depend on
_ROW = "  {:<10}{:<26}{:>8}{:>16}{:>14}{:>14}"


def step_group_lines(study: Study) -> Iterator[str]:
    """Of the base recipe and of each variant of a design that is trained in stages; none where nothing is.

    ConfigError where a budget is impossible.
    """
    first = study.design_trials[:1]
    variants = {f"variant {trial.variant}": study.recipe(trial.values) for trial in study.design_trials if trial.seed == first[0].seed}
    recipes = {name: recipe for name, recipe in (variants or {"the base recipe": study.base_recipe}).items() if recipe.experts}
    for name, recipe in recipes.items():
        yield f"step groups of {name}, from noise to data"
        yield from _table(recipe)
    if not recipes and any(path.startswith("experts.") for path in study.space):
        yield "step groups are searched, and the base recipe has none"


def guide_lines(study: Study) -> Iterator[str]:
    """Of the network that guides the base recipe, if it has one of its own."""
    recipe = study.base_recipe
    if recipe.guide:
        own = guide_recipe(recipe)
        cost = _network_cost(own.canonical_json)
        yield (f"guide       {own.network.kind}, {cost['parameters']:,.0f} parameters, {cost['macs']:,.0f} MACs, "  # type: ignore[attr-defined]
               f"{own.duration.images:,} images; trained once for all trials with the same one")


def images_of_trials(study: Study) -> tuple[int, int]:
    """Fewest and most training images of a trial, over all its stages."""
    if study.design:
        found = [total_images(study.recipe(trial.values)) for trial in study.design_trials]
        return min(found), max(found)
    axes = {path: study.space[path] for path in _PATHS if path in study.space}
    choices = [[*({path: value} for value in axis.extremes()), *([{}] if axis.when else [])] for path, axis in axes.items()]
    totals = []
    for chosen in itertools.product(*choices):
        try:
            totals.append(total_images(study.recipe({path: value for values in chosen for path, value in values.items()})))
        except ConfigError:
            continue  # these cannot be combined
    return (min(totals), max(totals)) if totals else study.range_of("duration.images")


def most_stages(study: Study) -> int:
    """Networks that are trained for one trial: the base, one per group, and a guide."""
    if study.design:
        return max(_stages(study.recipe(trial.values)) for trial in study.design_trials)
    axis = study.space.get("experts.groups")
    guides = 1 if study.base_recipe.guide else 0
    searched = [guides + 1 + int(groups) for groups in axis.extremes() if isinstance(groups, int)] if axis else []
    return max([_stages(study.base_recipe), *searched])


def _stages(recipe: Recipe) -> int:
    return 1 + (recipe.experts.groups if recipe.experts else 0) + (recipe.guide is not None)


def _table(recipe: Recipe) -> Iterator[str]:
    """A row per network, and what sampling costs."""
    experts, base = experts_of(recipe), base_recipe(recipe)
    data = recipe.data.load()
    cost, macs = _network_cost(base.canonical_json), macs_by_width(recipe.network, data.shape, recipe.classes_of(data))
    edges = None if experts.split.needs_loss else split_levels(experts.split, experts.groups, recipe.axis)
    levels = [_UNKNOWN] * experts.groups if edges is None else [str(interval or "all") for interval in levels_of(edges)]
    ratios = None if experts.budgets.needs_loss else experts.budgets.ratios(experts.groups)
    yield _ROW.format("", "levels", "share", "MACs", "parameters", "images")
    yield _ROW.format("base", "all", "100 %", f"{cost['macs']:,.0f}", f"{cost['parameters']:,.0f}", f"{recipe.duration.images:,}")
    for number in range(1, experts.groups + 1):
        ratio = ratios[number - 1] if ratios else None
        known = _cost(recipe, macs, f"group-{number}", ratio) if ratio is not None else {}
        yield _ROW.format(
            f"group-{number}", levels[number - 1], "–" if ratio is None else f"{100 * ratio:.0f} %",
            *(f"{known[name]:,.0f}" if name in known else "–" for name in ("macs", "parameters")), f"{expert_images(recipe):,}",
        )
    if edges is None or ratios is None:
        yield f"  what is not in the table depends on the base's loss: it is {_UNKNOWN}"
    else:
        share = float(np.mean([ratios[group_of(edges, float(np.float32(level)))] for level in recipe.axis.evaluated]))
        yield f"  {100 * share:.0f} % of the base's MACs per image in sampling; {total_images(recipe):,} training images in all stages"


def _cost(recipe: Recipe, macs: MacsByWidth, group: str, ratio: float) -> Mapping[str, float]:
    """`macs`, and `parameters` where the widths do not depend on the base's weights; MACs are met within 2 %."""
    pruning, base = experts_of(recipe).pruning, base_recipe(recipe)
    if ratio == 1.0:
        return _network_cost(base.canonical_json)
    if pruning.allocation != "uniform":
        return {"macs": ratio * macs.full}
    try:
        widths = uniform(ratio * macs.full, macs, pruning.multiple)
    except ConfigError as error:
        raise ConfigError(f"experts: {group} cannot come down to {ratio:.3g} of the base's MACs: {error}") from None
    pruned = base.model_copy(update={"network": recipe.network.model_copy(update={"widths": widths})})
    return _network_cost(pruned.canonical_json)


@functools.cache
def _network_cost(recipe_json: str) -> Mapping[str, float]:
    """Counting takes half a second, and groups and variants have networks in common."""
    return network_cost(Recipe.model_validate_json(recipe_json))
