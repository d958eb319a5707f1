"""What the stages of a recipe with experts or a guide are, as plain recipes. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainables.experts.groups import inside, levels_of, split_levels
from trainables.experts.loss_curve import LossCurve
from trainables.experts.settings import Experts
from trainables.recipe import Recipe, make_recipe
from trainables.sampling.guidance import Guidance
from trainables.schedules.restricted import Levels
from trainables.start import Start


@dataclass(frozen=True)
class Group:
    """One group of noise levels and the compute that it is given."""

    number: int  # from 1, at the noise
    levels: Levels | None  # None is all of them
    ratio: float  # multiply-accumulates of its network over the base's
    loss: float | None  # mean of the base's held-out loss over its part of the sampler's range, where it has been measured

    @property
    def name(self) -> str:
        return f"group-{self.number}"


def experts_of(recipe: Recipe) -> Experts:
    """The recipe's settings of experts; it must have some."""
    assert recipe.experts is not None, "a recipe without experts has no stages"
    return recipe.experts


def base_recipe(recipe: Recipe) -> Recipe:
    """The network itself: the recipe without its experts, and without its guide, which its training does not look at."""
    evaluation = recipe.evaluation
    if recipe.guide:
        evaluation = evaluation.model_copy(update={"guidance": Guidance()})
    return recipe.model_copy(update={"experts": None, "guide": None, "evaluation": evaluation})


def guide_recipe(recipe: Recipe) -> Recipe:
    """The stage that trains the network that guides; it depends on neither the recipe's network nor how it guides."""
    assert recipe.guide is not None, "a recipe without a guide"
    return make_recipe(recipe.guide.recipe_fields(recipe.model_dump(mode="json")), "guide")


def without_experts(recipe: Recipe) -> Recipe:
    """What remains where a training was stopped before its experts: the base, guided as the recipe says."""
    return recipe.model_copy(update={"experts": None})


def groups_of(recipe: Recipe, loss: LossCurve | None = None) -> tuple[Group, ...]:
    """The groups from noise to data; ConfigError where they cannot be made.

    `loss` is the base's; without it, ValueError where the split or the budgets depend on it.
    """
    experts = experts_of(recipe)
    axis = replace(recipe.axis, loss=loss)
    edges = split_levels(experts.split, experts.groups, axis)
    intervals = levels_of(edges)
    losses = [loss.mean(*inside(levels, axis)) for levels in intervals] if loss else []
    ratios = experts.budgets.ratios(experts.groups, losses)
    means: Sequence[float | None] = losses or [None] * experts.groups
    return tuple(Group(i, levels, ratio, mean) for i, (levels, ratio, mean) in enumerate(zip(intervals, ratios, means, strict=True), 1))


def needs_loss(recipe: Recipe) -> bool:
    """Whether the groups are known only when the base has been trained."""
    experts = experts_of(recipe)
    return experts.split.needs_loss or experts.budgets.needs_loss


def expert_images(recipe: Recipe) -> int:
    """Training images of each group."""
    experts, duration = experts_of(recipe), recipe.duration
    return experts.fine_tune.images(duration.images, duration.batch_size, experts.groups)


def total_images(recipe: Recipe) -> int:
    """Training images of the base and its experts, which a trial's reports count; a guide's come before them."""
    return recipe.duration.images + (recipe.experts.groups * expert_images(recipe) if recipe.experts else 0)


def expert_recipe(recipe: Recipe, levels: Levels | None, start: Start, widths: Mapping[str, int]) -> Recipe:
    """The recipe of the stage that fine-tunes one group's network; it depends on nothing else of the other groups.

    As many averages are stored as in the base's training, at the same shares of it.
    """
    base, images = recipe.duration.images, expert_images(recipe)
    batch, share = recipe.duration.batch_size, images / base
    fields: dict[str, Any] = base_recipe(recipe).model_dump(mode="json")
    fields["start"] = start.model_dump(mode="json")
    fields["levels"] = levels.model_dump(mode="json") if levels else None
    fields["network"]["widths"] = dict(widths)
    fields["duration"]["images"] = images
    fields["ema"]["snapshot_every"] = max(round(recipe.ema.snapshot_every * share / batch), 1) * batch
    fields["evaluation"]["every"] = min(recipe.evaluation.every, images)
    fields["optimiser"]["lr"] *= experts_of(recipe).fine_tune.lr
    for name in ("decay_after", "ramp_up"):
        if length := fields["optimiser"][name]:
            fields["optimiser"][name] = max(round(length * share), 1)
    return make_recipe(fields, "expert")
