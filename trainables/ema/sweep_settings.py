"""What a post-hoc EMA sweep looks at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from trainables.ema.profile import SIGMA_REL_MAX
from trainables.ema.settings import SigmaRels
from trainables.ema.solve import Solver
from trainables.errors import ConfigError
from trainables.explanations import explain
from trainables.method import Settings

_MOST_LENGTHS = 10_000  # of a range on the command line


class Optimise(Settings):
    """Look for the best EMA length in a continuous range, with few evaluations."""

    low: float = Field(0.02, gt=0, lt=SIGMA_REL_MAX, description="shortest EMA length")
    high: float = Field(0.25, gt=0, lt=SIGMA_REL_MAX, description="longest EMA length")
    evaluations: int = Field(10, ge=4, description="evaluations at most, repetitions of the winner among them")
    repeats: int = Field(2, ge=0, description="evaluations of the winner on fresh latents")
    nodes: int = Field(9, ge=4, le=16, description="node models from which any length between is synthesised")

    @model_validator(mode="after")
    def _range(self) -> Optimise:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, and {self.low} is not below {self.high}")
        if self.evaluations - self.repeats < 3:
            raise ValueError("evaluations - repeats must be at least 3")
        return self


class Sweep(Settings):
    """EMA lengths at which every trial is scored; its objective is the best of them at the end of its training."""

    sigma_rels: SigmaRels | Optimise = Field(
        (0.03, 0.05, 0.08, 0.1, 0.13, 0.17, 0.21, 0.25),
        description="a list of EMA lengths, or {low, high, ...} to look for the best one in a range",
    )
    times: tuple[float, ...] = Field(
        (1.0,), min_length=1, description="shares of the training after which the best length is looked for; 1 is its end"
    )
    guidance_weights: tuple[float, ...] = Field((), description="guidance weights to cross with the lengths; none is the recipe's own")
    guide_sigma_rels: tuple[float, ...] = Field((), description="EMA lengths of the network that guides to cross with them (autoguidance)")
    solver: Solver = Field("robust", description="'robust' or 'reference' (as published); curves of different solvers are not mixed")
    keep_snapshots: Literal["all", "last", "none"] = Field(
        "all", description="stored averages kept after a trial's own sweep: all, those of the last time, or none (it cannot be swept again)"
    )
    tasks: int = Field(1, ge=1, description="Ray tasks that read the stored averages, each its own range of parameters")

    @model_validator(mode="after")
    def _possible(self) -> Sweep:
        if any(not 0 < t <= 1 for t in self.times) or 1.0 not in self.times:
            raise ValueError("times are shares in (0, 1], and 1, the end of the training, is among them")
        if any(not (0 <= w <= 20 and math.isfinite(w)) for w in self.guidance_weights):
            raise ValueError("guidance_weights lie between 0 and 20")
        if any(not 0 < s < SIGMA_REL_MAX for s in self.guide_sigma_rels):
            raise ValueError(f"guide_sigma_rels lie between 0 and {SIGMA_REL_MAX:.4f}")
        return self

    @property
    def evaluations(self) -> int:
        """How many scores a sweep needs, at most."""
        lengths = self.sigma_rels.evaluations if isinstance(self.sigma_rels, Optimise) else len(self.sigma_rels)
        return lengths * self.slices

    @property
    def slices(self) -> int:
        """How many times, guidance weights and weaker networks lengths are crossed with; classical averages are scored in each."""
        return len(self.times) * max(len(self.guidance_weights), 1) * max(len(self.guide_sigma_rels), 1)

    @property
    def range_text(self) -> str:
        """The EMA lengths in words."""
        if isinstance(self.sigma_rels, Optimise):
            return f"looked for between {self.sigma_rels.low:g} and {self.sigma_rels.high:g}"
        return ", ".join(f"{s:g}" for s in self.sigma_rels)


def make_sweep(fields: Mapping[str, Any], what: str = "sweep") -> Sweep:
    """A sweep from plain data; a ConfigError has one line per problem."""
    try:
        return Sweep.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(explain(error, what, Sweep)) from None


def parse_lengths(text: str) -> tuple[float, ...]:
    """EMA lengths as `0.05`, `0.03,0.08,0.2` or `LOW:HIGH:COUNT` (evenly spaced in log sigma_rel)."""
    try:
        if ":" in text:
            first, last, points = text.split(":")
            low, high, count = float(first), float(last), int(points)
            if min(low, high) < 0 or not 1 <= count <= _MOST_LENGTHS:
                raise ValueError
            ratio = (high / low) ** (1 / max(count - 1, 1))
            return tuple(round(low * ratio**i, 12) for i in range(count))
        return tuple(float(part) for part in text.split(","))
    except (ValueError, ZeroDivisionError):
        forms = f"0.05, 0.03,0.08,0.2 or 0.02:0.25:24 (LOW:HIGH:COUNT, above 0, 1 to {_MOST_LENGTHS} lengths)"
        raise ConfigError(f"sigma_rel '{text}': is not understood; use {forms}") from None
