"""A step-adaptive recipe that trains real digits in a few seconds."""

from __future__ import annotations

from typing import Any

from tests.conftest import tiny_fields
from trainables.recipe import Recipe, make_recipe


def stepwise(experts: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    """Two groups; the one at the noise is pruned."""
    settings = {
        "groups": 2, "budgets": {"kind": "linear", "k": 0.6}, "pruning": {"multiple": 1, "images": 32}, "fine_tune": {"share": 1.0},
        **(experts or {}),
    }
    fields = tiny_fields(experts=settings, data={"kind": "digits", "held_out": 16}, **changes)
    fields["network"] = {**fields["network"], "channels": 8}
    fields["ema"] = {"sigma_rels": [0.1], "snapshot_every": 64}
    fields["evaluation"] = {**fields["evaluation"], "samples": 32, "interim_samples": 16}
    return make_recipe(fields)
