"""Finding the best EMA length with few scores."""

from __future__ import annotations

import numpy as np
import pytest

from trainables.ema.optimum import Scored, _next_width, locate, search_length
from trainables.ema.sweep_settings import make_sweep, parse_lengths
from trainables.errors import ConfigError


def curve(optimum: float, noise: float = 0.0, seed: int = 0):
    """A skewed U in log sigma_rel; every image has its own influence, common to all widths up to a little."""
    rng = np.random.default_rng(seed)
    common, tilt = rng.standard_normal(500) * noise, rng.standard_normal(500) * noise * 0.2

    def evaluate(width: float) -> Scored:
        x = np.log(width / optimum)
        influence = common + tilt * x
        return Scored(width, float(5 + 4 * x**2 + 1.2 * x**3 + influence.mean()), influence)

    return evaluate


@pytest.mark.parametrize("optimum", [0.03, 0.07, 0.12, 0.2])
def test_eight_scores_find_the_optimum(optimum: float) -> None:
    scored = search_length(curve(optimum), 0.02, 0.25, 8)
    assert len(scored) <= 8
    assert locate(scored).sigma_rel == pytest.approx(optimum, rel=0.06)


def test_an_optimum_at_the_edge_is_found_there() -> None:
    assert locate(search_length(curve(0.4), 0.02, 0.25, 8)).sigma_rel == pytest.approx(0.25)
    assert locate(search_length(curve(0.01), 0.02, 0.25, 8)).sigma_rel == pytest.approx(0.02)


def test_the_interval_holds_the_optimum_as_often_as_it_says() -> None:
    inside = 0
    for seed in range(60):
        found = locate(search_length(curve(0.08, noise=60.0, seed=seed), 0.02, 0.25, 8))
        inside += found.low <= 0.08 * 1.03 and found.high >= 0.08 * 0.97
    assert inside >= 51  # 57 expected of 60


def test_scores_without_influence_have_no_interval() -> None:
    found = locate([Scored(w, (np.log(w / 0.1)) ** 2) for w in (0.05, 0.1, 0.2)])
    assert found.sigma_rel == pytest.approx(0.1) and np.isnan(found.low)


def test_lengths_as_text() -> None:
    assert parse_lengths("0.05") == (0.05,) and parse_lengths("0.03,0.2") == (0.03, 0.2)
    widths = parse_lengths("0.02:0.25:24")
    assert len(widths) == 24 and widths[0] == 0.02 and widths[-1] == pytest.approx(0.25)
    for wrong in ("x", "0.1:0.2", "1:2:0:3", "0:0.2:4", "", "0.1:0.2:0", "0.1:0.2:-1", "-0.1:0.2:3", "0.1:-0.2:3", "0.1:0.2:10001"):
        with pytest.raises(ConfigError, match="is not understood"):
            parse_lengths(wrong)


@pytest.mark.parametrize(("fields", "words"), [
    ({"sigma_rels": [0.5]}, ["1/sqrt(12)"]),
    ({"sigma_rels": {"low": 0.2, "high": 0.1}}, ["low must be below high"]),
    ({"sigma_rels": {"low": 0.1, "high": 0.2, "evaluations": 4, "repeats": 2}}, ["at least 3"]),
    ({"times": [0.5]}, ["times", "1, the end"]),
    ({"guidance_weights": [-1]}, ["guidance_weights"]),
    ({"solver": "magic"}, ["solver", "robust"]),
])
def test_impossible_sweeps_are_explained(fields: dict, words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        make_sweep(fields)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(("widths", "expected"), [
    ((0.02, 0.05, 0.1, 0.15, 0.3), 0.1 / 2**0.5),  # the gap below 0.1 is the wider one
    ((0.02, 0.08, 0.1, 0.15, 0.3), (0.1 * 0.15) ** 0.5),
])
def test_once_the_vertex_is_known_the_middle_of_the_wider_gap_beside_it_is_next(widths: tuple[float, ...], expected: float) -> None:
    scores = [Scored(width, (np.log(width) - np.log(0.1)) ** 2) for width in widths]
    assert _next_width(scores) == pytest.approx(expected)
