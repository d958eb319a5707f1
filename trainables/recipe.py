"""A recipe: the complete, frozen, validated description of one training run. Importing this loads no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError, model_validator

from trainables import augmentations, metrics, networks, optimisers, sampling, schedules, targets, weightings
from trainables import data as data_sets
from trainables import timesteps as policies
from trainables.augmentations import AnyAugmentation
from trainables.augmentations.none import NoAugmentation
from trainables.data import AnyData, ImageData
from trainables.data.digits import Digits
from trainables.duration import Duration
from trainables.ema.settings import Ema
from trainables.ema.sweep_settings import Sweep
from trainables.errors import ConfigError
from trainables.evaluation.settings import Evaluation
from trainables.experts import budgets, criteria, splits
from trainables.experts.groups import levels_of, split_levels
from trainables.experts.settings import Experts
from trainables.experts.splits.split import Axis
from trainables.explanations import explain
from trainables.files import document
from trainables.files.yaml_file import load_mapping
from trainables.guide import Guide
from trainables.log_snr import from_edm_sigma
from trainables.method import Method, Settings, methods_in
from trainables.metrics import per_sample
from trainables.networks import AnyNetwork
from trainables.networks.edm2 import Edm2
from trainables.optimisers import AnyOptimiser
from trainables.optimisers.adam import Adam
from trainables.optimisers.arithmetic import Arithmetic
from trainables.plugins import entry_points
from trainables.plugins.entry_points import installed_in_use
from trainables.plugins.loading import use
from trainables.plugins.packing import with_named_plugins, with_sources, without_sources
from trainables.plugins.registry import kind_of
from trainables.sampling.trained_range import beyond_training
from trainables.schedules import AnySchedule
from trainables.schedules.normal import EdmLognormal
from trainables.schedules.restricted import Levels, restricted
from trainables.start import Start
from trainables.targets import AnyTarget
from trainables.targets.edm import EdmPreconditioned
from trainables.timesteps import AnyTimesteps
from trainables.timesteps.adaptive import Adaptive
from trainables.timesteps.importance import Importance
from trainables.timesteps.independent import Independent
from trainables.weightings import AnyWeighting
from trainables.weightings.edm import Edm
from trainables.weightings.ugd import Ugd

FAMILIES: dict[str, Mapping[str, type[Method]]] = {
    "data": data_sets.KINDS, "augment": augmentations.KINDS, "network": networks.KINDS, "target": targets.KINDS,
    "schedule": schedules.KINDS, "importance_base": schedules.KINDS,
    "weighting": weightings.KINDS, "timesteps": policies.KINDS, "optimiser": optimisers.KINDS,
    "sampler": sampling.KINDS, "features": metrics.KINDS, "sample_metric": per_sample.KINDS,
    "split": splits.KINDS, "budgets": budgets.KINDS, "criterion": criteria.KINDS,
}


class Recipe(Settings):
    """Everything that decides a run's result."""

    data: AnyData = Field(default_factory=Digits, description="images")
    augment: AnyAugmentation = Field(default_factory=NoAugmentation, description="random changes of training images")
    conditional: bool = Field(True, description="whether the network is told the labels of data that have some")
    network: AnyNetwork = Field(default_factory=Edm2, description="denoiser")
    start: Start | None = Field(None, description="weights that training begins from; none is random ones")
    target: AnyTarget = Field(default_factory=EdmPreconditioned, description="what the network predicts")
    schedule: AnySchedule = Field(default_factory=EdmLognormal, description="density of noise levels in training")
    weighting: AnyWeighting = Field(default_factory=Edm, description="loss weight by noise level")
    label_dropout: float = Field(0.0, ge=0, le=1, description="share of training images without their label (for guidance by oneself)")
    importance_base: AnySchedule | None = Field(
        None, description="draw from `schedule`, but weight by importance_base/schedule: the expected loss is then that of this density"
    )
    levels: Levels | None = Field(
        None, description="train on these noise levels alone: the schedule's density restricted to them; none is all"
    )
    timesteps: AnyTimesteps = Field(default_factory=Independent, description="how each image's level is drawn")
    optimiser: AnyOptimiser = Field(default_factory=Adam, description="optimiser and its learning rate; without a kind it is adam")
    arithmetic: Arithmetic = Field(default_factory=Arithmetic, description="number formats, gradient accumulation")
    ema: Ema = Field(default_factory=Ema, description="averages of the weights")
    experts: Experts | None = Field(
        None, description="step-adaptive training: a pruned and fine-tuned network per group of noise levels; none is one network for all"
    )
    guide: Guide | None = Field(
        None, description="a network of its own that guides sampling, trained once beside this one (evaluation.guidance.by: network)"
    )
    duration: Duration = Field(default_factory=Duration, description="length of training")
    evaluation: Evaluation = Field(default_factory=Evaluation, description="scoring")
    diagnostics_every: int = Field(
        0, ge=0, description="images between two looks at gradients and magnitudes by noise level; 0 is never"
    )
    max_nonfinite_steps: int = Field(
        10, ge=0, description="steps with a non-finite loss or gradient (but for overflows in fp16) before the run fails, at a report"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="seed of everything random in training")
    plugins: tuple[str, ...] = Field(
        (), exclude_if=lambda names: not names, description="files, folders or installed modules with one's own methods (docs/plugins.md)"
    )

    @model_validator(mode="before")
    @classmethod
    def _methods_are_at_hand(cls, fields: Any) -> Any:
        if isinstance(fields, Mapping):
            fields, names = with_named_plugins(fields)
            use(names)
        return fields

    @model_validator(mode="after")
    def _methods_can_be_found_again(self) -> Recipe:
        """Methods of installed packages need not be named in a file; other machines are told where they are from."""
        if found := installed_in_use(methods_in(self)):
            self.__dict__["plugins"] = tuple(dict.fromkeys([*self.plugins, *found]))
        return self

    @model_validator(mode="after")
    def _counts_fit_together(self) -> Recipe:
        batch = self.duration.batch_size
        for name, value in {
            "duration.images": self.duration.images, "ema.snapshot_every": self.ema.snapshot_every,
            "evaluation.every": self.evaluation.every, "diagnostics_every": self.diagnostics_every,
        }.items():
            if value % batch:
                below = value // batch * batch
                near = f"{below} or {below + batch}" if below else f"{batch}"
                raise ValueError(f"{name} must be a multiple of duration.batch_size = {batch}, and {value} is not: use {near}")
        return self

    @model_validator(mode="after")
    def _levels_are_drawn(self) -> Recipe:
        for name, density in {"schedule": self.schedule, "importance_base": self.importance_base}.items():
            try:
                restricted(density or self.schedule, self.levels)
            except ValueError as error:
                raise ValueError(f"levels: {error} ({name})") from None
        return self

    @model_validator(mode="after")
    def _importance_is_known(self) -> Recipe:
        try:
            _ = self.importance
        except ValueError as error:
            raise ValueError(f"importance_base: {error}") from None
        return self

    @model_validator(mode="after")
    def _experts_have_levels(self) -> Recipe:
        if self.experts is None:
            return self
        if self.start or self.levels or self.network.widths:
            raise ValueError("experts: start, levels and network.widths are found for each group, and cannot be given beside experts")
        if not self.experts.split.needs_loss:
            try:
                edges = split_levels(self.experts.split, self.experts.groups, self.axis)
            except ConfigError as error:
                raise ValueError(str(error)) from None
            for number, levels in enumerate(levels_of(edges), 1):
                for density in (self.schedule, self.importance_base or self.schedule):
                    try:
                        restricted(density, levels)
                    except ValueError as error:
                        raise ValueError(f"experts: group {number} cannot be trained: {error}") from None
        return self

    @model_validator(mode="after")
    def _memorisation_has_held_out_images(self) -> Recipe:
        for metric in self.evaluation.sample_metrics:
            if metric.needs_held_out and not self.data.held_out:
                name = kind_of(type(metric))
                raise ValueError(f"evaluation.sample_metrics: {name} compares with images that were not trained on: set data.held_out")
        return self

    @model_validator(mode="after")
    def _labels_are_used(self) -> Recipe:
        if not self.conditional and self.label_dropout:
            raise ValueError(f"label_dropout = {self.label_dropout:g} has no labels to leave out where conditional is false: use 0")
        self.check_guidance([self.evaluation.guidance.weight])
        return self

    @model_validator(mode="after")
    def _guide_guides(self) -> Recipe:
        by_network = self.evaluation.guidance.by == "network"
        if by_network and not self.guide:
            raise ValueError("evaluation.guidance: by: network asks for the network that guides: give guide: {network: ..., share: ...}")
        if not self.guide:
            return self
        if not by_network:
            raise ValueError("guide: would guide nothing: set evaluation.guidance.by: network, or leave the guide out")
        if self.start:
            raise ValueError("guide: start gives the weights of one network alone: leave one of the two out")
        try:
            Recipe.model_validate(self.guide.recipe_fields(self.model_dump(mode="json")))
        except ValidationError as error:
            raise ValueError(explain(error, "guide", Recipe)) from None
        return self

    @model_validator(mode="after")
    def _network_fits_the_data(self) -> Recipe:
        if self.data.resolution:
            try:
                self.network.check(self.data.resolution)
            except ValueError as error:
                raise ValueError(f"network: {error}") from None
        return self

    @model_validator(mode="after")
    def _shards_can_be_trained(self) -> Recipe:
        if self.arithmetic.parallel == "shards":
            unable = {
                "arithmetic.compile": self.arithmetic.compile, "experts": self.experts, "network.widths": self.network.widths,
                "diagnostics_every": self.diagnostics_every, "timesteps.kind: adaptive": isinstance(self.timesteps, Adaptive),
                "weighting.kind: ugd": isinstance(self.weighting.innermost, Ugd),
            }
            if found := [name for name, given in unable.items() if given]:
                raise ValueError(f"arithmetic.parallel: shards cannot be combined with {', '.join(found)}: use replicas, or leave it out")
        return self

    @model_validator(mode="after")
    def _optimiser_has_its_effect(self) -> Recipe:
        self.optimiser.check_length(self.duration.images)
        if self.optimiser.decays_weights and self.network.forces_norms:
            raise ValueError(
                "optimiser.weight_decay would change nothing: this network's weights are set to unit norm before each step "
                "(network.weight_norm: forced); set weight_decay: 0, or weight_norm: standard or none"
            )
        return self

    @property
    def in_stages(self) -> bool:
        """Whether this is trained as a row of plain recipes: a base with its experts, or with its guide."""
        return self.experts is not None or self.guide is not None

    @property
    def axis(self) -> Axis:
        """The noise levels of sampling and training, without the base's loss."""
        return Axis(np.asarray(from_edm_sigma(self.evaluation.sampler.levels)), self.drawn)

    @property
    def drawn(self) -> AnySchedule:
        """The density that training draws from: the schedule within `levels`."""
        return restricted(self.schedule, self.levels)

    @property
    def expected_under(self) -> AnySchedule:
        """The density under which the expected loss is taken: `importance_base`, or what is drawn, within `levels`."""
        return restricted(self.importance_base or self.schedule, self.levels)

    @property
    def importance(self) -> Importance | None:
        """What draws count by, where the expected loss is that of another density than they are from."""
        return None if self.importance_base is None else Importance(self.expected_under, self.drawn, self.timesteps)

    @property
    def warnings(self) -> list[str]:
        """What makes this run's result worth less than it seems, a sentence each."""
        found = list(self.importance.warnings if self.importance else [])
        if not self.start:  # whose network is used at the other levels
            found += beyond_training(self.evaluation.sampler.levels, self.drawn)
        if self.guide and self.evaluation.guidance.off:
            found.append("guide: evaluation.guidance.weight is 1, so that the guide is of use to sweeps of other weights alone")
        return [*found, *self.evaluation.warnings, *entry_points.warnings()]

    @property
    def metric_names(self) -> set[str]:
        """Metrics that every point of a sweep has."""
        return self.evaluation.metric_names | ({"held_out_loss"} if self.data.held_out else set())

    def classes_of(self, data: ImageData) -> int:
        """Classes of the labels that the network takes; 0 is none."""
        return data.classes if self.conditional else 0

    def check_guidance(self, weights: Sequence[float]) -> None:
        """ValueError where one of these weights would guide by something untrained, or at no step."""
        guidance = self.evaluation.guidance
        if all(weight == 1.0 for weight in weights):
            return
        if guidance.by == "unconditional" and not self.conditional:
            raise ValueError("evaluation.guidance: by: unconditional guides with labels, and conditional is false: use by: weaker")
        if guidance.by == "unconditional" and not 0 < self.label_dropout < 1:
            raise ValueError(
                "evaluation.guidance: by: unconditional asks for a network that is trained with and without labels, and label_dropout = "
                f"{self.label_dropout:g}: set it to 0.1, for example, or use by: weaker"
            )
        levels = self.evaluation.sampler.levels
        if not any(guidance.guides(level) for level in levels):
            raise ValueError(
                f"evaluation.guidance: would have no effect: none of the sampler's noise levels, {max(levels):.4g} to {min(levels):.4g}, "
                f"lies above sigma_low = {guidance.sigma_low:g} and up to sigma_high = {guidance.sigma_high:g}"
            )

    def check_sweep(self, sweep: Sweep) -> None:
        """ConfigError where this recipe cannot be guided as a sweep wants."""
        try:
            self.check_guidance(sweep.guidance_weights)
        except ValueError as error:
            raise ConfigError(f"sweep.guidance_weights: {error}") from None
        if sweep.guide_sigma_rels and not self.evaluation.guidance.second_network:
            raise ConfigError(
                "sweep.guide_sigma_rels: are EMA lengths of a second network, and evaluation.guidance is neither by: weaker nor by: network"
            )
        if self.experts:
            for name, given in {"times": sweep.times != (1.0,), "guidance_weights": sweep.guidance_weights,
                                "guide_sigma_rels": sweep.guide_sigma_rels, "tasks": sweep.tasks > 1}.items():
                if given:
                    raise ConfigError(f"sweep.{name}: experts are swept together, at their end, with the recipe's guidance: leave it out")
            if self.ema.classical:
                raise ConfigError("ema.classical: baselines of one network; experts have none: leave it out")

    def check_files(self) -> None:
        """ConfigError where a file that scoring needs is missing; nothing has been computed yet."""
        for features in (self.evaluation.features, *self.evaluation.also):
            features.check_files()

    @property
    def canonical_json(self) -> str:
        """The same text for the same run, whatever the order or spelling in the file."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @property
    def packed(self) -> dict[str, Any]:
        """Plain data with the source of plug-ins, for other processes and machines; `unpacked` makes the recipe of them."""
        return with_sources(self.model_dump(mode="json"))

    @property
    def key(self) -> str:
        """sha256 of the canonical JSON, hexadecimal."""
        return hashlib.sha256(self.canonical_json.encode()).hexdigest()

    @property
    def variant_key(self) -> str:
        """The key with the seed left out: equal for repetitions of one variant."""
        return self.model_copy(update={"seed": 0}).key


def make_recipe(fields: Mapping[str, Any], what: str = "recipe") -> Recipe:
    """A recipe from plain data; a ConfigError has one line per problem."""
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(explain(error, what, Recipe)) from None


def unpacked(packed: Mapping[str, Any], what: str = "recipe") -> Recipe:
    """The recipe that was packed in some other process, with its plug-ins as they were there."""
    return make_recipe(without_sources(packed), what)


def keep_recipe(recipe: Recipe, folder: Path) -> None:
    """Write a run's recipe into its folder, for whoever sweeps it or trains on."""
    document.write(folder / "recipe.json", recipe.packed)


def load_recipe(path: Path) -> Recipe:
    """A recipe from a YAML or JSON file; Damaged where a run's recipe.json does not match its checksum."""
    if path.suffix == ".json":
        return unpacked(document.read(path, f"restore it, or delete {path.parent} if it is a run's folder"), f"recipe {path}")
    return make_recipe(load_mapping(path, "recipe"), f"recipe {path}")
