"""From a trained base to what its experts begin from: groups, budgets, pruned widths, and start weights in each group's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from trainables.data import ImageData
from trainables.errors import ConfigError, Damaged
from trainables.evaluation.cost import network_cost
from trainables.experts.allocation import greedy, uniform
from trainables.experts.criteria import scores
from trainables.experts.macs import macs_by_width
from trainables.experts.proxy import Proxy, Row
from trainables.experts.pruning import prune
from trainables.networks.modules.denoiser import Denoiser
from trainables.networks.modules.start_file import StartWeights, kept_hash, read_start, write_start
from trainables.recipe import Recipe
from trainables.schedules.restricted import Levels
from trainables.stage_key import stage_key
from trainables.stages.composition import Group, base_recipe, expert_recipe, experts_of, groups_of
from trainables.stages.level_losses import loss_curve
from trainables.stages.recovery import searched_widths
from trainables.stages.stage import BASE, Expert, ExpertPlan, NoStore, Store, read_plan, write_plan
from trainables.stages.weights import averaged_denoiser
from trainables.start import Start
from trainables.timesteps.independent import Independent
from trainables.training.batch import Batch
from trainables.training.inputs import Inputs
from trainables.training.ranks import Ranks


def prepare_experts(
    recipe: Recipe, folder: Path, cache: Path, ranks: Ranks | None = None, pulse: Callable[[], None] = lambda: None,
    store: Store | None = None,
) -> ExpertPlan:
    """Plan the experts of the base trained in `folder`/base, and write the weights that each begins from.

    What was planned before for the same base and settings is taken as it is.  On one rank alone; `ranks` says how stages are trained.
    ConfigError where a budget or a group is impossible.
    """
    ranks = ranks or Ranks()
    base_key = stage_key(base_recipe(recipe), cache, ranks.world, ranks.device.type)
    known = _known(recipe, folder, base_key)
    if known:
        return known
    made = _Preparation(recipe, folder, cache, ranks, base_key, pulse, store or NoStore())
    plan = made.plan()
    write_plan(folder, plan)
    return plan


def _known(recipe: Recipe, folder: Path, base_key: str) -> ExpertPlan | None:
    """What has been planned, if all of it is there and it is of this base and these settings."""
    try:
        plan = read_plan(folder)
        if plan is None or plan.base_key != base_key or plan.settings != experts_of(recipe).model_dump(mode="json"):
            return None
        for expert in plan.experts:
            assert expert.recipe.start
            read_start(folder / expert.name, expert.recipe.start)
    except (Damaged, ConfigError):
        return None
    return plan


class _Preparation:
    def __init__(self, recipe: Recipe, folder: Path, cache: Path, ranks: Ranks, base_key: str, pulse: Callable[[], None],
                 store: Store) -> None:
        self._recipe, self._folder, self._cache, self._ranks, self._pulse, self._store = recipe, folder, cache, ranks, pulse, store
        self._base_key, self._base = base_key, base_recipe(recipe)
        self._experts = experts_of(recipe)
        self._data: ImageData = recipe.data.load(cache, pulse)
        self._denoiser: Denoiser = averaged_denoiser(
            self._base, self._data, folder / BASE, recipe.duration.images, self._experts.fine_tune.sigma_rel, ranks.device
        )
        self._memory: list[Row] = []  # of the proxy's searches
        self._macs = macs_by_width(recipe.network, self._data.shape, recipe.classes_of(self._data))

    def plan(self) -> ExpertPlan:
        curve = loss_curve(self._base, self._denoiser, self._recipe.axis, self._pulse)
        cost = network_cost(self._base, self._cache)
        return ExpertPlan(
            self._base_key, self._experts.model_dump(mode="json"), cost["macs"], cost["parameters"],
            (tuple(curve.log_snr.tolist()), tuple(curve.loss.tolist())),
            tuple(self._expert(group) for group in groups_of(self._recipe, curve)),
        )

    def _expert(self, group: Group) -> Expert:
        recipe, weights = self._begin(group, self._kept(group))
        assert recipe.start
        write_start(self._folder / group.name, recipe.start, weights.state, weights.kept)
        cost, key = network_cost(recipe, self._cache), stage_key(recipe, self._cache, self._ranks.world, self._ranks.device.type)
        assert group.loss is not None
        return Expert(group.name, recipe, key, group.ratio, cost["macs"], cost["parameters"], group.loss)

    def _begin(self, group: Group, kept: dict[str, Tensor]) -> tuple[Recipe, StartWeights]:
        """The group's stage if these units stay, and what it begins from."""
        start = Start(
            stage=self._base_key, images=self._recipe.duration.images, sigma_rel=self._experts.fine_tune.sigma_rel, kept=kept_hash(kept)
        )
        recipe = expert_recipe(self._recipe, group.levels, start, {name: len(indices) for name, indices in kept.items()})
        return recipe, StartWeights(self._denoiser.state_dict(), kept)

    def _kept(self, group: Group) -> dict[str, Tensor]:
        """Indices of the units that stay, by the name of those blocks that lose some."""
        if group.ratio == 1.0:
            return {}
        settings, budget = self._experts.pruning, group.ratio * self._macs.full
        with torch.enable_grad():
            found = scores(settings.criterion, self._denoiser, self._batches(group.levels))
        widths: Mapping[str, int]
        try:
            if settings.allocation == "greedy":
                widths = greedy({name: values.tolist() for name, values in found.items()}, budget, self._macs, settings.multiple)
            elif settings.allocation == "proxy":
                widths = self._searched(group, budget, found)
            else:
                widths = uniform(budget, self._macs, settings.multiple)
        except ConfigError as error:
            raise ConfigError(f"experts: {group.name} cannot come down to {group.ratio:.3g} of the base's MACs: {error}") from None
        return self._best_units(widths, found)

    def _searched(self, group: Group, budget: float, found: Mapping[str, Tensor]) -> Mapping[str, int]:
        """The proxy's widths; it remembers what did well in the groups before."""
        settings, folder = self._experts.pruning, self._folder / group.name
        proxy = settings.proxy or Proxy()
        searched = searched_widths(
            proxy, self._macs, budget, found, settings.multiple, lambda widths: self._begin(group, self._best_units(widths, found)), folder,
            self._cache, self._ranks, self._store, sorted(self._memory, key=lambda row: row.score or 0.0), self._pulse,
        )
        self._memory += [row for row in searched.rows if row.score is not None]
        return searched.best.widths

    def _best_units(self, widths: Mapping[str, int], found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Indices of the units with the highest scores, of the blocks that lose some."""
        lost = {name: width for name, width in widths.items() if width < self._macs.units[name]}
        return prune(self._denoiser, lost, found)[1]

    def _batches(self, levels: Levels | None) -> Iterator[Batch]:
        """Training images at levels of the group, drawn from its density."""
        recipe = self._base.model_copy(update={"levels": levels, "timesteps": Independent(), "label_dropout": 0.0})
        inputs = Inputs(recipe, self._data, Ranks(device=self._ranks.device), prefetch=False)
        for first in range(0, self._experts.pruning.images, recipe.duration.batch_size):
            yield inputs.batch(first)
            self._pulse()
