"""Trials with a network per group of noise levels, or with one that guides, as tracked: groups, EMA lengths and compute by stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError

from reports.documents import reused_text
from reports.results import StudyResults, TrialResult
from reports.variants import Ablation
from trainables.training.passes import per_image

_MOST = 8  # trials that are shown
_MIB = 2.0**-20
Number = Annotated[float | None, BeforeValidator(lambda value: value if isinstance(value, int | float) else None)]


class Group(BaseModel):
    """One group; low <= log SNR < high, the outermost with open ends."""

    name: str
    low: float | None = None
    high: float | None = None
    ratio: float  # budget over the base's multiply-accumulates
    macs: Number = None
    parameters: Number = None
    images: int = 0
    base_loss: Number = None  # of the base on the group's levels
    loss: Number = None  # of the fine-tuned network, at its EMA length
    sigma_rel: Number = None
    kept: dict[str, tuple[int, int]] = {}  # (units kept, units of the base) by block

    @property
    def change(self) -> float | None:
        """Of the loss by pruning and fine-tuning, relative."""
        return self.loss / self.base_loss - 1 if self.loss is not None and self.base_loss else None

    @property
    def levels(self) -> str:
        """In words."""
        if self.low is None:
            return "all" if self.high is None else f"below {self.high:.3g}"
        return f"from {self.low:.3g}" if self.high is None else f"{self.low:.3g} to {self.high:.3g}"


class Stage(BaseModel):
    """One line of the compute ledger."""

    stage: str
    images: int = 0
    train_seconds: float = 0.0
    train_macs: Number = None
    reused: dict[str, Any] = {}

    @property
    def own_share(self) -> float:
        """Share of its images that was trained for this trial, and not taken over."""
        return 1.0 - min(int(self.reused.get("images", 0)) / self.images, 1.0) if self.images else 0.0

    @property
    def origin(self) -> str:
        """Where it was trained."""
        return reused_text(self.reused) or "trained for this trial"


_STAGES = TypeAdapter(list[Stage])


class Choice(BaseModel):
    """EMA lengths from noise to data, and their score."""

    how: Literal["joint", "common"]
    sigma_rels: list[float]
    distance: float


class Speed(BaseModel):
    """Of sampling, with the experts or with the base alone."""

    images_per_second: float = Field(gt=0)
    weight_bytes: int
    peak_bytes: int | None = None  # of a GPU


class StepGroups(BaseModel):
    """What a trial's sweep says of its experts."""

    macs_ratio: float  # per image in sampling, over the base's
    base_macs: Number = None
    base_parameters: Number = None
    best: Literal["joint", "common"]
    choices: list[Choice] = []
    groups: list[Group] = Field(min_length=1)
    ledger: list[Stage] = []
    speed: dict[Literal["experts", "base"], Speed] = {}

    @property
    def speed_text(self) -> str:
        """What sampling takes, against the base in the same run; empty where it was not measured."""
        if self.speed.keys() != {"experts", "base"}:
            return ""
        ours, base = self.speed["experts"], self.speed["base"]
        memory = [("weights", ours.weight_bytes, base.weight_bytes)]
        if ours.peak_bytes and base.peak_bytes:
            memory.append(("peak memory on the GPU", ours.peak_bytes, base.peak_bytes))
        sizes = "".join(f"; {name} {_MIB * a:.3g} against {_MIB * b:.3g} MiB" for name, a, b in memory)
        return (f"Sampling, in one run beside whatever ran then: {ours.images_per_second:.3g} images/s against "
                f"{base.images_per_second:.3g} with the base alone ({ours.images_per_second / base.images_per_second:.2f} times){sizes}.")

    @property
    def lengths_text(self) -> str:
        """Whether a length per group or one for all did better; empty where it was not compared."""
        joint, common = ([c for c in self.choices if c.how == how] for how in ("joint", "common"))
        if not joint or not common:
            return ""
        one, each = min(common, key=lambda c: c.distance), min(joint, key=lambda c: c.distance)
        lengths = ", ".join(f"{length:.3g}" for length in each.sigma_rels)
        texts = {
            "joint": f"a length for each group by its own loss ({lengths}): {each.distance:.4g}",
            "common": f"one length for all ({one.sigma_rels[0]:.3g}): {one.distance:.4g}",
        }
        other = "common" if self.best == "joint" else "joint"
        return f"EMA lengths: {texts[self.best]}, against {texts[other]}."

    @property
    def spent(self) -> tuple[int, float]:
        """(images, seconds) of the stages that were trained for this trial."""
        return spent(self.ledger)

    @property
    def blocks(self) -> Iterator[tuple[str, list[str]]]:
        """(block, units kept of those that there are, by group) of the blocks that some group has pruned."""
        for block in dict.fromkeys(name for group in self.groups for name in group.kept):
            counts = [group.kept.get(block) for group in self.groups]
            if any(count and count[0] < count[1] for count in counts):
                yield block, [f"{count[0]} of {count[1]}" if count else "–" for count in counts]


def read_stages(content: Any) -> list[Stage]:
    """Of a trial with a guide; empty of others, and where another version has written something else."""
    try:
        return _STAGES.validate_python(content)
    except ValidationError:
        return []


def shown_guides(results: StudyResults) -> list[tuple[TrialResult, list[Stage], tuple[int, float]]]:
    """(trial, stages in order of training, images and seconds of those that were trained for it), of the best trials that have a guide."""
    found = [(trial, stages) for trial in results.ranked if (stages := read_stages(trial.stages))]
    return [(trial, stages, spent(stages)) for trial, stages in found[:_MOST]]


def spent(ledger: Sequence[Stage]) -> tuple[int, float]:
    """(images, seconds) trained for a trial; the seconds of a stage taken over in part are shared by images."""
    return sum(round(stage.own_share * stage.images) for stage in ledger), sum(stage.own_share * stage.train_seconds for stage in ledger)


def read_step_groups(content: Any) -> StepGroups | None:
    """None of a trial without experts, and where an earlier version has written something else."""
    try:
        return StepGroups.model_validate(content) if content else None
    except ValidationError:
        return None


def shown_step_groups(results: StudyResults, ablation: Ablation | None) -> list[tuple[str, TrialResult, StepGroups]]:
    """(title, trial, its groups): the first seed of every variant of a design, or the best trials of a search."""
    if ablation:
        chosen = [(f"{v.name} (seed {t.seed})", t) for v in ablation.variants for t in [t for t in v.trials if _groups(t)][:1]]
    else:
        chosen = [(f"trial {t.number}", t) for t in results.ranked if _groups(t)]
    return [(title, trial, groups) for title, trial in chosen[:_MOST] if (groups := _groups(trial))]


@dataclass(frozen=True)
class VariantCost:
    """What a variant reaches and costs, means over its seeds that have been swept."""

    variant: str
    score: float | None
    seeds: int
    macs: float  # of a network evaluation, mean over those of one image
    parameters: float  # of all networks that sampling needs
    images: float  # training images of all stages, whether trained here or reused
    train_macs: float | None  # forward and backward; None where a ledger does not say


def variant_costs(ablation: Ablation | None) -> list[VariantCost]:
    """In order of a design's variants; none where no variant has step groups."""
    if ablation is None or not any(_groups(t) for v in ablation.variants for t in v.trials):
        return []
    found = []
    for variant in ablation.variants:
        if swept := [t for t in variant.trials if {"macs", "parameters"} <= t.metrics.keys()]:
            spent = [train_macs(t) for t in swept]
            found.append(VariantCost(
                variant.name, variant.mean, len(swept), fmean(t.metrics["macs"] for t in swept),
                fmean(t.metrics["parameters"] for t in swept), fmean(_images(t) for t in swept),
                fmean(known) if len(known := [s for s in spent if s is not None]) == len(spent) else None,
            ))
    return found


def _images(trial: TrialResult) -> int:
    """Of all stages; a trial's reports do not count those of a guide."""
    return sum(stage.images for stage in read_stages(trial.stages)) or trial.images


def train_macs(trial: TrialResult, network: float | None = None) -> float | None:
    """Of all stages, forward and backward, with what policies and weightings evaluate besides; None where it is not known.

    `network` are those of a network evaluation, for a trial that does not say.
    """
    groups = _groups(trial)
    stages = groups.ledger if groups else read_stages(trial.stages)
    if not stages and not groups:
        macs = trial.metrics.get("macs", network)
        return None if macs is None else per_image(trial.metrics) * macs * trial.images
    known = [stage.train_macs for stage in stages if stage.train_macs is not None]
    return sum(known) if known and len(known) == len(stages) else None


def _groups(trial: TrialResult) -> StepGroups | None:
    return read_step_groups(trial.experts)
