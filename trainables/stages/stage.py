"""One stage of a step-adaptive training: a plain recipe in a folder of its own. No torch here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trainables.errors import Damaged
from trainables.files import document
from trainables.recipe import Recipe, make_recipe

if TYPE_CHECKING:
    from trainables.networks.modules.start_file import StartWeights

BASE, GUIDE = "base", "guide"  # folders of stages
_NAME = "experts.json"
_WAY_OUT = "delete it and run again: it is made anew from the base"


@dataclass(frozen=True)
class Stage:
    """`key` is its stage key: what a store knows it by."""

    name: str  # guide, base, group-1, group-2, ...
    recipe: Recipe
    folder: Path
    key: str


@dataclass(frozen=True)
class Candidate:
    """Widths that a proxy search tries, as a group's stage that is cut short."""

    recipe: Recipe
    weights: StartWeights  # which it begins from
    images: int  # of training before it is scored
    key: str  # what a store knows its loss by


class Store(Protocol):
    """Where stages are kept that several trainings share, and others who may train along."""

    def take(self, stage: Stage) -> int:
        """Called before a stage is trained: may put what was trained of it, as `train` leaves it, into its folder.

        Returns how many images of what is in the folder were trained elsewhere.
        """

    def keep(self, stage: Stage) -> None:
        """Called once after each `take`, when a stage's training has come to its end, was stopped, or failed."""

    def offer(self, stages: Sequence[Stage]) -> None:
        """Called when it is known which stages come next, in this order: others may train them meanwhile, in their folders."""

    def losses(self, candidates: Sequence[Candidate], loss_of: Callable[[Candidate], float]) -> list[float]:
        """The losses of several candidates, by `loss_of`, here or elsewhere."""


class NoStore:
    """Every training stands alone."""

    def take(self, stage: Stage) -> int:
        """Nothing is there."""
        return 0

    def keep(self, stage: Stage) -> None:
        """Nothing is kept."""

    def offer(self, stages: Sequence[Stage]) -> None:
        """Nobody trains along."""

    def losses(self, candidates: Sequence[Candidate], loss_of: Callable[[Candidate], float]) -> list[float]:
        """One after the other."""
        return [loss_of(candidate) for candidate in candidates]


@dataclass(frozen=True)
class Expert:
    """What is known of a group's stage before it is trained."""

    name: str
    recipe: Recipe
    key: str
    ratio: float  # budget over the base's multiply-accumulates
    macs: float  # of its network, one evaluation of one image
    parameters: float
    loss: float  # mean of the base's loss over its levels

    def stage(self, folder: Path) -> Stage:
        """As a stage of the training in `folder`."""
        return Stage(self.name, self.recipe, folder / self.name, self.key)


@dataclass(frozen=True)
class ExpertPlan:
    """All groups' stages, from noise to data, and what the base was measured by."""

    base_key: str
    settings: dict[str, Any]  # of the experts
    base_macs: float
    base_parameters: float
    curve: tuple[tuple[float, ...], tuple[float, ...]]  # log SNR and the base's loss at them
    experts: tuple[Expert, ...]

    @property
    def key(self) -> str:
        """The same for the same stages."""
        return hashlib.sha256(" ".join([self.base_key, *(expert.key for expert in self.experts)]).encode()).hexdigest()

    @property
    def edges(self) -> tuple[float, ...]:
        """Inner edges of the groups in log SNR, rising."""
        return edges_of([expert.recipe for expert in self.experts])


def edges_of(recipes: Sequence[Recipe]) -> tuple[float, ...]:
    """Inner edges in log SNR between the levels of recipes in order."""
    lows = [recipe.levels.low for recipe in recipes[1:] if recipe.levels]
    return tuple(low for low in lows if low is not None)


def write_plan(folder: Path, plan: ExpertPlan) -> None:
    """Into the folder of the whole training, atomically."""
    rows = [{**vars(e), "recipe": e.recipe.model_dump(mode="json")} for e in plan.experts]
    document.write(folder / _NAME, {**vars(plan), "experts": rows}, indent=1)


def read_plan(folder: Path) -> ExpertPlan | None:
    """None where none has been made; Damaged where it cannot be read."""
    path = folder / _NAME
    if not path.exists():
        return None
    fields: dict[str, Any] = document.read(path, _WAY_OUT)
    try:
        rows = fields.pop("experts")
        experts = tuple(Expert(**{**row, "recipe": make_recipe(row["recipe"], f"{path}: {row['name']}")}) for row in rows)
        log_snr, loss = fields.pop("curve")
        return ExpertPlan(**fields, curve=(tuple(log_snr), tuple(loss)), experts=experts)
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{path}: is of another version ({error}); {_WAY_OUT}") from None
