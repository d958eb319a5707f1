"""Defaults of averages and of sweeps over them: the values of EDM2's paper, and this project's own."""

from __future__ import annotations

import pytest

from trainables.ema.classical_average import ClassicalAverage
from trainables.ema.settings import Ema
from trainables.ema.sweep_settings import Optimise, Sweep, parse_lengths
from trainables.method import Settings


def test_defaults_are_the_published_ones() -> None:
    assert Ema().model_dump() == {"sigma_rels": (0.05, 0.10), "snapshot_every": 6_400, "snapshot_format": "fp32", "classical": ()}
    assert Optimise().model_dump() == {"low": 0.02, "high": 0.25, "evaluations": 10, "repeats": 2, "nodes": 9}
    assert Sweep().model_dump() == {
        "sigma_rels": (0.03, 0.05, 0.08, 0.1, 0.13, 0.17, 0.21, 0.25), "times": (1.0,), "guidance_weights": (), "guide_sigma_rels": (),
        "solver": "robust", "keep_snapshots": "all", "tasks": 1,
    }


@pytest.mark.parametrize(("fields", "before", "beta"), [
    ({"decay": 0.999}, 0, 0.999), ({"decay": 0.99}, 10**6, 0.99),
    ({"half_life": 320}, 0, 0.5**0.1), ({"half_life": 64}, 10**6, 0.5**0.5),
    ({"half_life": 320, "ramp_up": 0.05}, 640, 0.5), ({"half_life": 320, "ramp_up": 0.05}, 10**6, 0.5**0.1),
    ({"half_life": 320, "ramp_up": 0.05}, 0, 0.0),
])
def test_a_classical_average_keeps_what_its_formula_says_of_32_images(fields: dict, before: int, beta: float) -> None:
    assert float(ClassicalAverage(**fields).beta(before, 32)) == pytest.approx(beta, rel=1e-12)


@pytest.mark.parametrize(("cls", "field", "allowed", "refused", "beside"), [
    (ClassicalAverage, "decay", (1e-9, 0.999999), (0.0, 1.0), {}), (ClassicalAverage, "half_life", (1,), (0,), {}),
    (ClassicalAverage, "ramp_up", (0.0, 0.05), (-0.001,), {"half_life": 1}), (Ema, "snapshot_every", (1,), (0,), {}),
    (Optimise, "low", (1e-6,), (0.0, 0.25, 0.3), {}), (Optimise, "high", (0.2886,), (0.2887,), {}),
    (Optimise, "nodes", (4, 16), (3, 17), {}),
    (Optimise, "evaluations", (4,), (3,), {"repeats": 0}), (Optimise, "evaluations", (5, 10), (4,), {"repeats": 2}),
    (Optimise, "repeats", (0, 7), (-1, 8), {}), (Sweep, "tasks", (1,), (0,), {}),
    (Sweep, "guidance_weights", ((0.0, 20.0),), ((20.1,), (-0.1,)), {}),
    (Sweep, "guide_sigma_rels", ((1e-6, 0.2886),), ((0.0,), (0.2887,)), {}),
    (Sweep, "times", ((0.001, 1.0),), ((0.0, 1.0), (0.5,), (1.0, 1.1)), {}),
])
def test_edges_of_what_is_allowed(cls: type[Settings], field: str, allowed: tuple, refused: tuple, beside: dict) -> None:
    for value in allowed:
        assert getattr(cls.model_validate({**beside, field: value}), field) == value
    for value in refused:
        with pytest.raises(ValueError, match=cls.__name__):
            cls.model_validate({**beside, field: value})


def test_lengths_in_words() -> None:
    assert parse_lengths("0.05") == (0.05,) and parse_lengths("0.03,0.2") == (0.03, 0.2)
    assert parse_lengths("0.02:0.08:3") == pytest.approx((0.02, 0.04, 0.08)) and parse_lengths("0.02:0.08:1") == (0.02,)


def test_scores_of_a_sweep_are_the_product_of_what_it_crosses() -> None:
    sweep = Sweep(sigma_rels=(0.05, 0.1), times=(0.5, 1.0), guidance_weights=(1.0, 1.5, 2.0), guide_sigma_rels=(0.05, 0.1))
    assert sweep.evaluations == 24 and Sweep().evaluations == 8
    assert Sweep(sigma_rels=Optimise(evaluations=7), times=(0.5, 1.0)).evaluations == 14
