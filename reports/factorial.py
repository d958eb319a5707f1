"""What a factorial design says of its factors."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from reports.statistics.effects import Effect, effects
from reports.variants import Ablation
from search_spaces.designs import Factorial


def factorial_effects(ablation: Ablation) -> list[Effect]:
    """Effects of the factors, each variant at its own best EMA length; empty for other designs.  ValueError while too little is trained."""
    design = ablation.design
    if not isinstance(design, Factorial):
        return []
    levels = design.changes()
    runs = [(levels[variant.name], seed, score) for variant in ablation.variants for seed, score in variant.scores.items()]
    return effects(design.factors, runs, design.resolution)


def effect_rows(found: list[Effect]) -> list[dict[str, Any]]:
    """A row per effect: change from the first level to the second with its interval, F and p."""
    rows = []
    for effect in found:
        changes = {name: None if (value := getattr(effect, of)) is None else value - 1
                   for name, of in (("change", "ratio"), ("low", "low"), ("high", "high"))}
        known = {name: value for name, value in asdict(effect).items() if name in ("degrees", "f", "p")}
        rows.append({"effect": effect.name, **changes, **known, "mixed_with": ", ".join(" x ".join(other) for other in effect.aliases)})
    return rows
