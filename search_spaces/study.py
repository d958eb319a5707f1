"""A study: base recipe, space, search settings, sweep and compute, from one YAML file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property, reduce
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from search_spaces import space as spaces
from search_spaces.absolute_paths import with_absolute_design, with_absolute_paths
from search_spaces.chain import Chain
from search_spaces.consistency import check_design, check_search, values_of
from search_spaces.designs import DESIGNS, AnyDesign, DesignTrial
from search_spaces.feasibility import Combinations, Feasibility
from search_spaces.overrides import assign
from search_spaces.published import Published
from search_spaces.scales import at_scale
from search_spaces.search import SAMPLERS, STOPPINGS, Grid, Objective, Search
from search_spaces.space import Space, searched_methods
from search_spaces.study_name import study_name
from search_spaces.versions import up_to_date
from trainables.ema.sweep_settings import Sweep
from trainables.errors import ConfigError, did_you_mean
from trainables.explanations import explain
from trainables.files.yaml_file import load_mapping
from trainables.method import Method, Settings, methods_in
from trainables.plugins.entry_points import installed_in_use
from trainables.plugins.packing import with_named_plugins, with_sources, without_sources
from trainables.recipe import Recipe, make_recipe


class Compute(Settings):
    """What each trial may use; a sweep task takes one CPU (and the same share of a GPU as one worker)."""

    workers: int = Field(1, ge=0, description="training workers per trial; 0 trains inside the trial's own process")
    cpus_per_worker: int = Field(1, ge=1, description="CPUs (and threads) per worker")
    gpus_per_worker: float = Field(0.0, ge=0, description="GPUs per worker; shares such as 0.5 are allowed")
    concurrent_trials: int = Field(1, ge=1, description="trials that train at the same time")
    reuse: bool = Field(True, description="take over what another trial with the same recipe has trained already")
    hang_minutes: float = Field(60.0, ge=0, description="workers without news for so long (from their start on) are restarted; 0: never")
    sweep_minutes: float = Field(240.0, ge=0, description="an EMA sweep that has run for so long is given up; 0: never")
    max_failures: int = Field(2, ge=0, description="restarts of a trial after a lost worker before it counts as failed")

    @model_validator(mode="after")
    def _gpus_have_workers(self) -> Compute:
        if self.gpus_per_worker and not self.workers:
            raise ValueError(f"workers: 0 trains on the CPU, and gpus_per_worker = {self.gpus_per_worker:g} needs a worker: set workers: 1")
        return self


class Tracking(Settings):
    """What MLflow is told."""

    ema_runs: bool = Field(False, description="a run for each EMA length as well; each trial's run has a table of them in any case")


class Study(Settings):
    """One YAML file."""

    name: str = Field(description="names the folder, the MLflow experiment and the report")
    description: str = Field("", description="what the study asks, for the report")
    base: dict[str, Any] = Field(default_factory=dict, description="the recipe from which every trial starts")
    space: Space = Field(default_factory=dict, description="recipe paths and their ranges")
    design: AnyDesign | None = Field(None, description="variants to be compared, each on the same seeds; instead of a space")
    search: Search = Field(default_factory=Search)
    chain: Chain | None = Field(None, description="what follows the search: ablate around its winner, confirm its best on fresh seeds")
    sweep: Sweep = Field(default_factory=Sweep)
    compute: Compute = Field(default_factory=Compute)
    tracking: Tracking = Field(default_factory=Tracking)
    published: Published | None = Field(None, description="a paper's result that the study asks about, for the report")
    plugins: tuple[str, ...] = Field(
        (), exclude_if=lambda names: not names, description="files, folders or installed modules with one's own methods (docs/plugins.md)"
    )

    @model_validator(mode="before")
    @classmethod
    def _recipes_name_the_plugins(cls, fields: Any) -> Any:
        return _with_plugins(fields) if isinstance(fields, Mapping) else fields

    @field_validator("name")
    @classmethod
    def _fit_for_a_folder(cls, name: str) -> str:
        return study_name(name)

    @model_validator(mode="after")
    def _learns_from_others(self) -> Study:
        if self.name in self.search.warm_start:
            raise ValueError(f"search.warm_start: study {self.name} cannot learn from itself")
        return self

    @cached_property
    def base_recipe(self) -> Recipe:
        return make_recipe(self.base, f"study {self.name}: base")

    @property
    def metric(self) -> str:
        """The Fréchet distance that trials are swept and stopped by."""
        return self.base_recipe.evaluation.features.metric

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What the search optimises; the first ranks the trials."""
        return self.search.objectives or (Objective(metric=self.metric),)

    @property
    def asynchronous(self) -> bool:
        """Whether trials are proposed from everything known by then, instead of from all results up to a fixed trial."""
        return self.search.order == "asynchronous" or (self.search.order == "auto" and self.compute.concurrent_trials > 1)

    @property
    def meaning(self) -> dict[str, Any]:
        """Settings as plain data with every default spelled out: equal for studies that differ in their writing alone."""
        fields = self.model_dump(mode="json")
        fields["base"] = self.base_recipe.model_dump(mode="json")
        for settings in (fields, fields["base"]):
            settings.pop("plugins", None)  # where they lie means nothing; their code is looked at by itself
        fields["search"]["objectives"] = [objective.model_dump(mode="json") for objective in self.objectives]
        fields["search"]["order"] = "asynchronous" if self.asynchronous else "reproducible"
        for axis in fields["space"].values():
            axis["when"] = {path: allowed if isinstance(allowed, list) else [allowed] for path, allowed in axis["when"].items()}
        return fields

    @property
    def grid_points(self) -> int:
        """Values per range of a grid; 0 for other samplers."""
        return self.search.sampler.points if isinstance(self.search.sampler, Grid) else 0

    @cached_property
    def design_trials(self) -> list[DesignTrial]:
        """What a design trains, in order; empty without one."""
        return self.design.trials() if self.design else []

    @property
    def search_seeds(self) -> tuple[int, ...]:
        """The seeds that each proposal of a search is trained on; empty where it is one trial with the seed of its own recipe."""
        seeds = self.search.seeds
        if isinstance(seeds, int):
            return tuple(self.base_recipe.seed + i for i in range(seeds)) if seeds > 1 else ()
        return seeds

    @property
    def axes(self) -> list[str]:
        """Recipe paths that differ between trials."""
        return list(self.space) or list(dict.fromkeys(path for trial in self.design_trials for path in trial.values))

    @property
    def most_proposals(self) -> float:
        """The trials of a design, or the given points and every combination of a grid; infinite for other samplers."""
        if self.design:
            return len(self.design_trials)
        if not self.grid_points:
            return math.inf
        return len(self.search.points) + math.prod(len(axis.grid(self.grid_points)) for axis in self.space.values())

    @property
    def possible_proposals(self) -> float:
        """How many proposals that are possible end the search: `search.trials`; a design ends with its last trial alone."""
        return math.inf if self.design else self.search.trials

    @property
    def trials_wanted(self) -> int:
        """Most trials of the study: all of a design; or those of a search and its chain."""
        return len(self.design_trials) or self.search_trials + sum(self.stage_trials.values())

    @property
    def stage_trials(self) -> dict[str, int]:
        """The most trials of each stage of the chain."""
        return self.chain.most_trials(self.space) if self.chain else {}

    @property
    def search_trials(self) -> int:
        """Most trials of the search itself: `search.trials`, or every point of a smaller grid, each on every seed."""
        return int(min(self.search.trials, self.most_proposals)) * max(len(self.search_seeds), 1)

    @cached_property
    def feasibility(self) -> Feasibility:
        """How many combinations of the space are possible, from seeded draws."""
        return self.combinations.feasibility(f"study {self.name}")

    @property
    def combinations(self) -> Combinations:
        """Every trial that the study may have."""
        device = "cuda" if self.compute.gpus_per_worker else "cpu"
        return Combinations(self.space, self.base, self.compute.workers, self.grid_points, device)

    @property
    def methods(self) -> list[type[Method]]:
        """The classes of the methods that its trials may use, each once."""
        variants = {trial.variant: trial.values for trial in self.design_trials}
        recipes = [self.base_recipe, *map(self.recipe, variants.values())]
        return list(dict.fromkeys([*(cls for recipe in recipes for cls in methods_in(recipe)), *searched_methods(self.space)]))

    def range_of(self, path: str) -> tuple[int, int]:
        """Lowest and highest value of a whole number of the recipe in this study: `study.range_of("duration.images")`."""
        base = reduce(getattr, path.split("."), self.base_recipe)
        found = [trial.values.get(path, base) for trial in self.design_trials] or values_of(self.space, path, base)
        return min(found), max(found)

    @property
    def warnings(self) -> list[str]:
        """What makes the study's comparison worth less than it seems."""
        found = list(self.base_recipe.warnings)
        if any(path.startswith("weighting.base") for path in self.space):
            found.append("the learned uncertainty cancels the weighting underneath: searching weighting.base compares nothing")
        if self.space and self.feasibility.reasons:
            found.append(f"combinations of the space: {self.feasibility}; such a trial is infeasible and costs nothing")
        return found

    def recipe(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe of a trial with the given values at the searched paths."""
        return self.combinations.recipe(values, f"study {self.name}: trial")

    @property
    def packed(self) -> dict[str, Any]:
        """Plain data with the source of plug-ins, for other processes and machines; `unpacked` makes the study of them."""
        return with_sources(self.model_dump(mode="json"))


FAMILIES: dict[str, Mapping[str, type[Method]]] = {"sampler": SAMPLERS, "early_stopping": STOPPINGS, "design": DESIGNS}


def unpacked(packed: Mapping[str, Any]) -> Study:
    """The study that was packed in some other process, with its plug-ins as they were there; ValidationError where it is none."""
    return Study.model_validate(without_sources(packed))


def make_study(fields: Mapping[str, Any], where: str = "study") -> Study:
    """A study from plain data, checked to its edges; a ConfigError has one line per problem."""
    fields = _with_default_ranges(_with_plugins(fields), where)
    try:
        study = Study.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(explain(error, where, Study)) from None
    base = make_recipe(study.base, f"{where}: base")
    if study.design:
        if study.chain:
            raise ConfigError(f"{where}: chain: follows a search, and this study is a design; leave it out")
        check_design(study.design_trials, study.search, study.combinations, where)
        found = dict.fromkeys(study.plugins)
        for trial in study.design_trials:
            recipe = study.recipe(trial.values)
            recipe.check_sweep(study.sweep)
            found.update(dict.fromkeys(recipe.plugins))
        return Study.model_validate({**with_absolute_design(study.model_dump(), study.design_trials, base), "plugins": tuple(found)})
    if not any(path.startswith(("evaluation.guidance", "evaluation.sampler", "label_dropout", "conditional")) for path in study.space):
        base.check_sweep(study.sweep)
    study.combinations.check_edges(where)
    check_search(study.search, study.chain is not None, study.combinations, base, where)
    if study.space:
        study.combinations.feasibility(where)
    else:
        study.combinations.recipe({}, f"{where}: base")
    found = dict.fromkeys([*base.plugins, *installed_in_use(searched_methods(study.space))])
    return Study.model_validate({**with_absolute_paths(study.model_dump(), study.space, base), "plugins": tuple(found)})


def _with_plugins(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields whose base names the study's plug-ins and its own; the study names the same."""
    fields, names = with_named_plugins(fields)
    base = fields.get("base", {})
    if isinstance(base, Mapping):
        base, further = with_named_plugins(base)
        if together := list(dict.fromkeys([*names, *further])):
            return {**fields, "plugins": together, "base": {**base, "plugins": together}}
    return fields


def _with_default_ranges(fields: Mapping[str, Any], where: str) -> dict[str, Any]:
    result = dict(fields)
    space = result.get("space")
    if not isinstance(space, dict) or not isinstance(result.get("base", {}), dict):
        return result
    wanted = {p: v for p, v in space.items() if isinstance(p, str) and (v == "auto" or (isinstance(v, dict) and v.get("kind") == "auto"))}
    if wanted:
        base = make_recipe(result.get("base", {}), f"{where}: base")
        result["space"] = dict(space)
        for path, value in wanted.items():
            conditions = {name: condition for name, condition in value.items() if name != "kind"} if isinstance(value, dict) else {}
            kinds = _kinds_beside(path, conditions.get("when"), space)
            result["space"][path] = {**spaces.default_range(path, base, kinds), **conditions}
    return result


def _kinds_beside(path: str, when: Any, space: Mapping[str, Any]) -> list[Any]:
    """Kinds of the method with which a field of it is searched: those of its condition, else all that are searched."""
    axis = f"{path.rpartition('.')[0]}.kind"
    given = when.get(axis) if isinstance(when, dict) else None
    if given is None:
        choices = space.get(axis)
        given = choices.get("choices") if isinstance(choices, dict) else choices
    return given if isinstance(given, list) else [given]


def bundled_studies() -> dict[str, Path]:
    """The studies that come with the package, by name."""
    folder = resources.files("search_spaces") / "studies"
    return {Path(str(f)).stem: Path(str(f)) for f in sorted(folder.iterdir(), key=str) if str(f).endswith(".yaml")}


def load_study(name_or_path: str, assignments: Mapping[str, Any] | None = None, scale: str | None = None) -> Study:
    """A study by the name of a bundled one or by the path of a file, at a scale that it lists, with `--set` values applied."""
    bundled = bundled_studies()
    path = bundled.get(name_or_path, Path(name_or_path))
    if not path.is_file():
        raise ConfigError(
            f"study '{name_or_path}': is neither a file nor a bundled study. Bundled: {', '.join(bundled)}."
            f"{did_you_mean(name_or_path, bundled)}"
        )
    return compose_study(load_mapping(path, "study"), assignments or {}, scale, f"study {path.name}")


def compose_study(written: Mapping[str, Any], assignments: Mapping[str, Any], scale: str | None = None, where: str = "study") -> Study:
    """A study from what a file says, of any version, at a scale that it lists, with values by dotted path over it."""
    return make_study(assign(at_scale(up_to_date(written, where), scale, where), assignments), where)
