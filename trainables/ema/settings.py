"""What a study says about averages: their widths, how often and how precisely they are stored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from trainables.ema.classical_average import ClassicalAverage
from trainables.ema.profile import SIGMA_REL_MAX
from trainables.method import Settings

NAMED = ".4f"  # a width in the name of its files


def _possible(widths: tuple[float, ...]) -> tuple[float, ...]:
    for width in widths:
        if not 0 < width < SIGMA_REL_MAX:
            raise ValueError(f"each width must lie between 0 and 1/sqrt(12) = {SIGMA_REL_MAX:.4f}; {width} does not")
    if len(set(widths)) != len(widths):
        raise ValueError("each width may be given once")
    return widths


def _different(averages: tuple[ClassicalAverage, ...]) -> tuple[ClassicalAverage, ...]:
    if len({a.name for a in averages}) < len(averages):
        raise ValueError("each average may be given once")
    return averages


def told_apart(widths: tuple[float, ...]) -> tuple[float, ...]:
    """Widths whose stored averages have names of their own; ValueError for others."""
    names = [f"{width:{NAMED}}" for width in widths]
    for width, name in zip(widths, names, strict=True):
        if names.count(name) > 1:
            raise ValueError(f"files of stored averages name widths with four decimals, {name} for {width}: use others")
    return widths


SigmaRels = Annotated[tuple[float, ...], Field(min_length=1), AfterValidator(_possible)]  # a settings field of EMA widths


def _known_format(value: Any) -> Any:
    if value in ("bf16", "bfloat16"):
        raise ValueError("bf16 keeps 8 bits of each weight, and reconstruction multiplies that error up to 40 times: use fp32 or fp16")
    return value


SnapshotFormat = Annotated[Literal["fp32", "fp16"], BeforeValidator(_known_format)]


class Ema(Settings):
    """Which averages of the weights are followed and stored."""

    sigma_rels: Annotated[SigmaRels, AfterValidator(told_apart)] = Field(
        (0.05, 0.10), description="widths of the tracked power-function averages"
    )
    snapshot_every: int = Field(6_400, ge=1, description="images between two stored averages")
    snapshot_format: SnapshotFormat = Field(
        "fp32", description="number format of stored averages; fp16 halves the bytes, and its rounding limits short averages"
    )
    classical: Annotated[tuple[ClassicalAverage, ...], AfterValidator(_different)] = Field(
        (), description="averages of a fixed decay to compare with: followed, stored and scored beside the best post-hoc width"
    )
