"""Combinations of settings: which there are, and few recipes that hold every pair of them.

    python -m tests.trainables.training.combinations    writes docs/combinations.md
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

PAGE = Path(__file__).parents[3] / "docs" / "combinations.md"
ENDS = {"log_snr_min": -4, "log_snr_max": 4}  # so near that every schedule has mass beyond them
SETTINGS: dict[str, dict[str, Any]] = {
    "target": {name: name for name in ("eps", "x0", "v", "edm", "flow")},
    "weighting": {name: name for name in ("edm", "min_snr", "p2")} | {"ugd": {"kind": "ugd", "every": 1_000_000}},
    "uncertainty": {"off": False, "on": True},
    "schedule": {
        "edm_lognormal": {"kind": "edm_lognormal", "P_mean": -0.4, **ENDS}, "laplace": {"kind": "laplace", "b": 1.5, **ENDS},
        "cauchy": {"kind": "cauchy", **ENDS}, "ddpm_linear": {"kind": "ddpm_linear", **ENDS},
    },
    "importance_base": {"none": None, "cosine_shifted": {"kind": "cosine_shifted", "mu": 0.5, **ENDS}},
    "levels": {"all": None, "some": {"low": -2.0, "high": 2.5}},
    "timesteps": {
        "uniform": "uniform", "stratified": "stratified", "speed": "speed",
        # A correction is 1/uniform_share at most: few draws that count much have a mean that some thousand draws do not show.
        "loss_second_moment": {"kind": "loss_second_moment", "cells": 8, "history": 4, "uniform_share": 0.2},
        "adaptive": {"kind": "adaptive", "levels": 16, "update_every": 16, "chosen": 2, "queue": 3},
    },
    "precision": {name: name for name in ("fp32", "bf16", "fp16")},
    "micro_batch": {"whole": 0, "parts": 24},
    "ranks": {"one": 1, "two": 2},
    "dropout": {"none": 0.0, "some": 0.25},
    "label_dropout": {"none": 0.0, "some": 0.3},
    "resume": {"no": False, "yes": True},
}
REFUSED = {frozenset({("timesteps", "adaptive"), ("importance_base", "cosine_shifted")})}

Choice = tuple[str, str]  # of a setting, by name


def allowed(choices: Iterable[Choice]) -> bool:
    return not any(refused <= set(choices) for refused in REFUSED)


def groups(size: int) -> set[frozenset[Choice]]:
    """All allowed pairs (2) or triples (3) of choices of different settings."""
    every = [[(name, value) for value in values] for name, values in SETTINGS.items()]
    return {
        frozenset(group) for some in itertools.combinations(every, size) for group in itertools.product(*some) if allowed(group)
    }


def held(cases: Iterable[dict[str, str]], size: int) -> set[frozenset[Choice]]:
    """The pairs or triples that some case holds."""
    return {frozenset(group) for case in cases for group in itertools.combinations(case.items(), size)}


def random_case(draw: np.random.Generator, first: Iterable[Choice] = ()) -> dict[str, str]:
    """Values of all settings at random, but for the given ones, and allowed."""
    while True:
        case = {name: list(values)[draw.integers(len(values))] for name, values in SETTINGS.items()} | dict(first)
        if allowed(case.items()):
            return case


def covering_pairs(seed: int = 0) -> list[dict[str, str]]:
    """Few cases that hold every allowed pair: each is the best of some random ones around a pair that was missing."""
    draw, missing, cases = np.random.default_rng(seed), groups(2), list[dict[str, str]]()
    while missing:
        target = min(missing, key=sorted)
        candidates = [random_case(draw, target) for _ in range(60)]
        best = max(candidates, key=lambda case: len(held([case], 2) & missing))
        cases.append(best)
        missing -= held([best], 2)
    return cases


def more(count: int, seed: int = 1) -> list[dict[str, str]]:
    """Further cases at random, for triples."""
    draw = np.random.default_rng(seed)
    return [random_case(draw) for _ in range(count)]


MORE = 150


def page() -> str:
    """docs/combinations.md."""
    quick, slow = covering_pairs(), [*covering_pairs(), *more(MORE)]
    pairs, triples = groups(2), groups(3)
    lines = [
        "# Combinations of training settings that are tested",
        "",
        "Defects hide in products of parts that work alone. `tests/trainables/training/test_combinations.py` trains a linear network on",
        "small data with the real loop for combinations of the settings below, and compares the mean gradient of many steps with",
        "`E_p[w(lambda) grad l]`, computed by quadrature; the difference must be within 4.5 of the mean's own standard errors.",
        "Seven planted defects were noticed: the correction dropped, the correction applied twice, u with the wrong sign, dropout on in",
        "the adaptive policy's extra passes, weights that depend on the rank, an importance without the policy's density, and parts of a",
        "batch averaged each for itself. Dropout in the extra passes shows in what the policy learns from steps that move nothing, the",
        "others in the gradient.",
        "",
        "| | recipes | pairs | triples |",
        "|---|---|---|---|",
        f"| there are | | {len(pairs)} | {len(triples)} |",
        *(f"| `{command}` | {len(cases)} | {len(held(cases, 2))} | {len(held(cases, 3))} |"
          for command, cases in {"make test": quick, "make test-slow": slow}.items()),
        "",
        "| setting | values |",
        "|---|---|",
        *(f"| `{name}` | {', '.join(values)} |" for name, values in SETTINGS.items()),
        "",
        "Refused: " + "; ".join(" with ".join(f"{n} {v}" for n, v in sorted(r)) for r in REFUSED)
        + ". Not combined here: optimisers, clipping, augmentation, several machines.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)
