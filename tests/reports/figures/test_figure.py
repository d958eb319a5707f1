"""Charts as plain data: few plain ticks, stopped trials out of the scale, points as rows, and the same chart as SVG and in Plotly."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from reports.documents import flatten
from reports.figures import convergence, ema, gradients, noise_levels, search
from reports.figures.drawing import svg
from reports.figures.figure import Figure, joined, log_axis, short_number
from reports.figures.groups import MOST_DRAWN
from reports.pages.charts import Chart, sections
from reports.results import EmaPoint
from reports.variants import ablation_of
from tests.conftest import tiny_fields
from tests.reports.pages.studies import HOSTILE, LEVELS, a_design, a_search
from trainables.recipe import make_recipe


@pytest.mark.parametrize("values", [(0.02, 0.25), (22.3, 27.1), (1.0, 1.0), (3.0, 5e5), (1e-7, 1e9), (9.9, 10.1)])
def test_log_axes_have_few_plain_ticks_within_their_range(values: tuple[float, float]) -> None:
    axis = log_axis([*values, math.inf, math.nan, -1.0, None])
    low, high = (10**end for end in axis["range"])
    assert 1 <= len(axis["tickvals"]) <= 11 and all(low <= tick <= high for tick in axis["tickvals"])
    assert low < values[0] and high > values[1] and not any("e+" in text for text in axis["ticktext"])
    assert log_axis([0.0, math.inf]) == {}


def test_numbers_on_axes_are_short() -> None:
    assert [short_number(x) for x in (0.05, 300, 9999, 15_000, 1.2e6, 3e9)] == ["0.05", "300", "9999", "15k", "1.2M", "3G"]


def test_stopped_trials_do_not_decide_the_scale() -> None:
    results = a_search()
    figure = convergence.convergence(results)
    assert figure.layout["yaxis"]["range"][1] < math.log10(100) < math.log10(results.trials[12].curve[0][1])
    names = [trace["name"] for trace in figure.data]
    assert names[0].startswith("stopped (4)") and names[-1].endswith("(best)")


def test_many_trials_share_a_line_with_gaps_and_more_are_thinned_out() -> None:
    assert joined([(1, [1, 2], [3, 4]), (2, [5], [6])]) == {"x": [1, 2, None, 5], "y": [3, 4, None, 6], "customdata": [1, 1, None, 2]}
    results = a_search()
    results.trials = [t for _ in range(100) for t in results.trials[:11]]
    figure = ema.ema_curves(results)
    thinned = [trace["name"] for trace in figure.data if " of " in trace["name"]]
    assert len(figure.data) < 10 and thinned == ["others (334 of 1000)"] and MOST_DRAWN == 400


def test_points_are_rows_with_their_interval_and_trial() -> None:
    figure = Figure("x", "y <score>")
    figure.add(name="a &lt;b&gt;", x=[1, None, 2], y=[3.0, None, 4.0], customdata=[7, None, 8], error_y={"array": [0.5, 0, 1.0]})
    assert figure.rows() == [{"series": "a <b>", "trial": 7, "x": 1, "y <score>": 3.0, "low": 2.5, "high": 3.5},
                             {"series": "a <b>", "trial": 8, "x": 2, "y <score>": 4.0, "low": 3.0, "high": 5.0}]


@pytest.mark.parametrize("results", [a_search(), a_design()], ids=["search", "design"])
def test_every_chart_is_an_svg_a_plotly_figure_and_json_without_markup(results) -> None:
    found = [chart for section in sections(results, ablation_of(results)) for chart in section.charts]
    assert len(found) > 8
    for chart in found:
        drawn = svg(chart.figure)
        assert drawn == svg(chart.figure) and "<script" not in drawn
        assert isinstance(chart.figure.to_plotly(), go.Figure) and chart.figure.rows()
        assert not set("<>&") & set(chart.json) and "NaN" not in chart.json and "Infinity" not in chart.json


def test_a_chart_ends_no_script_element() -> None:
    figure = Figure(HOSTILE, "y")
    figure.add(name=HOSTILE, x=[1], y=[math.nan])
    assert "</script" not in Chart("k", "t", "", figure).json and "null" in Chart("k", "t", "", figure).json


def test_products_have_integral_one_and_equal_curves_share_a_line() -> None:
    results = a_design()
    product = noise_levels.products(results, ablation_of(results))
    assert product is not None and len(product.data) == 3
    for trace in product.data:
        assert sum(trace["y"]) * (trace["x"][1] - trace["x"][0]) == pytest.approx(1.0, abs=0.01)
    density = noise_levels.densities(results, ablation_of(results))
    assert density is not None and [trace["name"] for trace in density.data] == ["base and 1 more", "laplace"]


def by_level(kind: str, **settings: Any) -> np.ndarray:
    """A figure's only curve, for a recipe with these settings."""
    results = a_design()
    results.trials = results.trials[:1]
    results.trials[0].recipe = flatten(make_recipe(tiny_fields(**settings)).model_dump(mode="json"))
    figure = getattr(noise_levels, kind)(results)
    assert len(figure.data) == 1 and all(y is None or math.isfinite(y) for y in figure.data[0]["y"])
    return np.array(figure.data[0]["y"], dtype=float)


DRAWN: dict[str, dict[str, Any]] = {
    "uniform": {"schedule": "laplace"}, "heavy": {"schedule": "cauchy"}, "bounded": {"schedule": "ddpm_linear"},
    "speed": {"schedule": "cosine", "timesteps": {"kind": "speed", "ratio": 5.0, "weight_bound": 0.8}},
    "levels": {"schedule": "cosine", "levels": {"low": -2.0, "high": 3.0}},
    "importance": {"schedule": "laplace", "importance_base": {"kind": "cosine"}, "levels": {"low": -4.0}},
    "both": {"schedule": {"kind": "laplace", "b": 2.0}, "importance_base": {"kind": "cosine"},
             "timesteps": {"kind": "speed", "ratio": 5.0, "weight_bound": 0.8}},
    "loss_second_moment": {"schedule": "cosine", "timesteps": "loss_second_moment"},
}


@pytest.mark.parametrize("name", list(DRAWN))
def test_densities_and_products_are_those_of_what_training_draws(name: str) -> None:
    """Against the draws of 200,000 images, with their corrections and weights."""
    recipe = make_recipe(tiny_fields(weighting="min_snr", **DRAWN[name]))
    draws, importance = recipe.timesteps.start(recipe.drawn, 0, 50_000), recipe.importance
    levels, counts = [], []
    for first in range(0, 200_000, 50_000):
        drawn, own = draws.draw(first, 50_000, torch.zeros(50_000, 1, 1, 1))
        count = np.ones(50_000) if own is None else own
        levels.append(drawn)
        counts.append(count * (importance(drawn) if importance else 1.0))
    drawn, count = np.concatenate(levels), np.concatenate(counts)
    density, product = by_level("densities", weighting="min_snr", **DRAWN[name]), by_level("products", weighting="min_snr", **DRAWN[name])
    edges = np.array([-15.0, -6.0, -4.0, -2.0, 0.0, 2.0, 3.0, 5.0, 15.0])
    np.testing.assert_allclose(shares(density, edges), np.histogram(drawn, edges)[0] / len(drawn), atol=0.02)
    weight = np.exp(recipe.weighting.log_weight(drawn, recipe.target)) / (np.exp(drawn) + 1)
    wanted = np.histogram(drawn, edges, weights=count * weight)[0]
    np.testing.assert_allclose(shares(product, edges), wanted / wanted.sum(), atol=0.02)


def shares(curve: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Integrals of a figure's curve between edges."""
    x = np.linspace(-15, 15, 301)
    return np.diff(np.interp(edges, x, np.append(0.0, np.cumsum((curve[1:] + curve[:-1]) / 2 * np.diff(x)))))


@pytest.mark.parametrize("name", list(DRAWN))
def test_weight_and_density_make_the_product(name: str) -> None:
    weight, density, product = (by_level(kind, **DRAWN[name]) for kind in ("weights", "densities", "products"))
    drawn = density > 0
    np.testing.assert_allclose((weight * density)[drawn], product[drawn], rtol=2e-3)
    assert (product[~drawn] == 0).all() and np.isnan(weight[~drawn]).all()


def test_held_out_losses_are_differences_to_the_baseline() -> None:
    results = a_design()
    figure = noise_levels.held_out_losses(results, ablation_of(results))
    assert figure is not None and [trace["x"] for trace in figure.data] == [list(LEVELS)] * 2
    first = next(t for t in results.trials if t.seed == 0)
    assert noise_levels.held_out_by_level(first)[2.0] == pytest.approx(0.6)
    for trial in results.trials:
        trial.ema = []
    assert noise_levels.held_out_losses(results, ablation_of(results)) is None


def test_learned_densities_are_drawn_over_training_by_noise_level() -> None:
    results = a_design()
    found = noise_levels.learned_densities(results, ablation_of(results))
    heat = found[0][1].data[0]
    assert [name for name, _ in found] == ["base", HOSTILE, "laplace"] and heat["x"] == [256, 512] and heat["y"] == sorted(heat["y"])
    results.trials[0].densities = {256: [1.0] * 16}  # a policy that has not begun yet
    assert len(noise_levels.learned_densities(results, ablation_of(results))) == 2
    assert len(heat["z"]) == 16 and heat["z"][-1] == [1.0, 2.0]  # the first cell is that of the cleanest images


def test_slices_and_parallel_coordinates_are_of_what_was_searched() -> None:
    results = a_search()
    assert [path for path, _ in search.slices(results)] == ["weighting.gamma", "optimiser.lr", "schedule.kind"]
    figure = search.parallel_coordinates(results)
    assert figure is not None and all(y is None or 0 <= y <= 1 for trace in figure.data for y in trace["y"])
    history = search.history(results)
    assert history is not None and history.data[-1]["y"] == sorted(history.data[-1]["y"], reverse=True)
    assert search.parallel_coordinates(a_design()) is None and search.slices(a_design()) == []


def test_costs_of_an_image_are_the_trials_own() -> None:
    results = a_search()
    by_macs = convergence.convergence(results, by="macs").data[-1]
    by_images = convergence.convergence(results).data[-1]
    assert by_macs["x"] == [pytest.approx(3e6 * images) for images in by_images["x"]]


def test_gradients_are_means_over_seeds_between_neighbouring_levels() -> None:
    results = a_design()
    assert gradients.cosines(results, ablation_of(results)) is None
    for number, trial in enumerate(results.trials):
        trial.metrics |= {"grad_cosine/log_snr_-2.2_-0.8": 0.1 * number, "grad_cosine/log_snr_-0.8_0.8": -0.5, "grad_cosine/mean": 0.3,
                          "grad_norm/log_snr_-2.2": 4.0, "grad_norm/log_snr_-0.8": 0.0}
    cosine, norm = (of(results, ablation_of(results)) for of in (gradients.cosines, gradients.norms))
    mean = np.mean([0.1 * n for n, t in enumerate(results.trials) if "weighting.kind" not in t.values and "schedule.kind" not in t.values])
    assert cosine is not None and norm is not None and len(cosine.data) == len(norm.data) == 3
    assert cosine.data[0]["x"] == [-1.5, 0.0] and cosine.data[0]["y"] == [pytest.approx(mean), -0.5]
    assert norm.data[0]["x"] == [-2.2] and norm.data[0]["y"] == [pytest.approx(4.0)]  # 0 has no place in logarithms


def test_a_variant_that_needs_half_the_images_has_twice_the_speed() -> None:
    results = a_design()
    for trial in results.trials:
        fast = 2.0 if trial.values.get("schedule.kind") == "laplace" else 1.0
        trial.ema = [EmaPoint(0.07, 1e4 / (images * fast), 1e-3, 0.2, images=images, solver="robust") for images in (128, 256, 512, 1024)]
    figure = convergence.speed_up_curves(ablation_of(results))
    assert figure is not None and [trace["name"] for trace in figure.data][-1] == "laplace"
    assert figure.data[-1]["x"] == [512, 1024] and figure.data[-1]["y"] == pytest.approx([2.0, 2.0])  # 256 of 128: before its first time


def test_slices_have_partial_dependence_from_twenty_trials_on() -> None:
    results = a_search()
    assert all(len(figure.data) == 2 for _, figure in search.slices(results))
    results.trials = [replace(t, number=17 * i + t.number) for i in range(2) for t in results.trials]
    by_path = dict(search.slices(results))
    assert [trace["name"] for trace in by_path["weighting.gamma"].data] == [
        "completed", "best", "95 % of the trees", "partial dependence"]
    assert by_path["schedule.kind"].data[-1]["x"] == ["cosine", "laplace"] and "error_y" in by_path["schedule.kind"].data[-1]


def test_ticks_are_the_plain_numbers_within_the_range() -> None:
    assert log_axis([1.0, 10.0], room=1.0)["tickvals"] == [1.0, 2.0, 5.0, 10.0]



def test_a_band_has_the_height_of_the_figure() -> None:
    figure = Figure("x", "y")
    figure.band(0.9, 1.1)
    assert {key: figure.layout["shapes"][0][key] for key in ("x0", "x1", "y0", "y1", "yref")} == {
        "x0": 0.9, "x1": 1.1, "y0": 0, "y1": 1, "yref": "y domain"}


def test_stored_times_are_drawn_for_variants_that_have_several() -> None:
    results = a_design()
    figure = convergence.stored_times(ablation_of(results))
    assert figure is not None and [trace["name"] for trace in figure.data][::2] == ["base", "laplace"] and len(figure.data) == 3
    assert all(trace["x"] == [256, 512] and trace["y"][0] > trace["y"][1] for trace in figure.data)
    for trial in (t for t in results.trials if t.values.get("schedule.kind") == "laplace"):
        trial.ema = [point for point in trial.ema if point.images == 512]
    left = convergence.stored_times(ablation_of(results))
    assert left is not None and len(left.data) == 2
    for trial in results.trials:
        trial.ema = [point for point in trial.ema if point.images == 512]
    assert convergence.stored_times(ablation_of(results)) is None


def test_one_line_alone_is_called_the_best() -> None:
    names = [trace["name"] for trace in convergence.convergence(a_search()).data]
    assert [name.endswith("(best)") for name in names] == [False] * (len(names) - 1) + [True] and len(names) > 5


def test_interim_scores_that_are_no_numbers_are_not_drawn() -> None:
    results = a_search()
    best = results.ranked[0]
    best.curve = [(128, math.inf), (256, math.nan), (384, -1.0), (512, 20.0)]
    trace = convergence.convergence(results).data[-1]
    assert trace["x"] == [512] and trace["y"] == [20.0]
