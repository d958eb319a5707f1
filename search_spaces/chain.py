"""What follows a search in the same study: an ablation around its winner, and its best proposals confirmed on fresh seeds and latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from search_spaces.distributions import Categorical, Distribution
from trainables.method import Settings

STAGES = ("ablate", "confirm")  # in the order in which they are run


class Ablate(Settings):
    """Which parts of the winner matter: it is trained beside variants of itself, on the same seeds."""

    around: Literal["best"] = Field("best", description="the best proposal of the search")
    kind: Literal["leave_one_out", "one_at_a_time"] = Field(
        "leave_one_out", description="leave_one_out: each searched choice back at the base's, its own settings with it; "
        "one_at_a_time: each searched parameter at other choices, or a quarter of its range to either side"
    )
    seeds: int = Field(3, ge=2, description="seeds of each variant, from the base's on")
    smallest_effect: float = Field(0.05, gt=0, lt=1, description="as in a design")


class Confirm(Settings):
    """The best proposals and the base, trained on seeds and scored on latents that the search has not seen."""

    top: int = Field(3, ge=1, description="proposals, the best first")
    seeds: int = Field(5, ge=2, description="fresh seeds of each")
    smallest_effect: float = Field(0.05, gt=0, lt=1, description="as in a design")


class Chain(Settings):
    """Stages after the search, in the order: ablate, confirm."""

    ablate: Ablate | None = Field(None, description="an ablation around the winner")
    confirm: Confirm | None = Field(None, description="the best proposals again, on fresh seeds and latents")

    @model_validator(mode="after")
    def _has_a_stage(self) -> Chain:
        if not self.stages:
            raise ValueError("a chain needs a stage: ablate, confirm, or both")
        return self

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(stage for stage in STAGES if getattr(self, stage) is not None)

    def most_trials(self, space: Mapping[str, Distribution]) -> dict[str, int]:
        """The most trials that each stage may have."""
        found = {}
        if self.ablate:
            others = (_others(axis) if self.ablate.kind == "one_at_a_time" else int(not axis.when) for axis in space.values())
            found["ablate"] = (1 + sum(others)) * self.ablate.seeds
        if self.confirm:
            found["confirm"] = (1 + self.confirm.top) * self.confirm.seeds
        return found


def _others(axis: Distribution) -> int:
    return len(axis.choices) - 1 if isinstance(axis, Categorical) else 2
