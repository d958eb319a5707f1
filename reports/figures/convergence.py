"""Scores over the course of training: against images, multiply-accumulates and seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from reports.curves import Points, geometric_means
from reports.figures.figure import HIGHLIGHT, Figure, colour, log_axis, plain
from reports.figures.groups import add_lines
from reports.ledger import gpu_seconds_of, macs_per_image
from reports.rank_correlation import rank_correlations
from reports.results import StudyResults, TrialResult
from reports.speed_up import baseline_of, curves_of, speed_up_curve
from reports.variants import Ablation

By = Literal["images", "macs", "seconds"]
TITLES: dict[By, str] = {"images": "training images", "macs": "training MACs", "seconds": "seconds of the workers"}


def convergence(results: StudyResults, ablation: Ablation | None = None, by: By = "images") -> Figure:
    """Interim score, a line per trial."""
    figure = Figure(_title(results, by), f"interim {results.metric}")

    def curve(trial: TrialResult) -> Points:
        scale = _per_image(trial, by, results)
        return [(images * scale, score) for images, score in trial.curve if scale and math.isfinite(score) and score > 0]

    values = add_lines(figure, results, ablation, curve)
    figure.axis("yaxis", **log_axis(values))
    _count_axis(figure, [x for trial in results.trials for x, _ in curve(trial)])
    return figure


def rank_correlation(results: StudyResults) -> Figure | None:
    """Spearman's coefficient of interim and final scores, by the images of the interim ones; None where there are fewer than two times."""
    found = rank_correlations(results)
    if len(found) < 2:
        return None
    figure = Figure("training images", "rank correlation with final scores")
    figure.add(name="Spearman", mode="lines+markers", x=[c.images for c in found], y=[c.rho for c in found], showlegend=False,
               line={"color": HIGHLIGHT, "width": 2}, text=[f"{c.trials} trials" for c in found],
               hovertemplate="%{x} images: %{y:.2f} (%{text})<extra></extra>")
    figure.axis("yaxis", range=[min(-0.02, *(c.rho - 0.05 for c in found)), 1.03])
    _count_axis(figure, [c.images for c in found])
    return figure


def stored_times(ablation: Ablation, by: By = "images") -> Figure | None:
    """Score at each stored time at its own best EMA length: geometric means over seeds; None where the sweep had one time alone."""
    figure = Figure(TITLES[by], ablation.metric)
    points: list[tuple[float, float]] = []
    for place, variant in enumerate(ablation.variants):
        curves = [curve for curve in curves_of(variant).values() if len(curve) > 1]
        trial = next((t for t in variant.trials if t.status == "completed" and _per_image(t, by)), None)
        if not curves or trial is None:
            continue
        scale = _mean_per_image(variant.trials, by)
        means = [(scale * images, score) for images, score in geometric_means(curves)]
        figure.add(
            name=plain(variant.name), mode="lines+markers", x=[x for x, _ in means], y=[y for _, y in means],
            line={**colour(place), "width": 2}, marker={"size": 7, "color": colour(place)["color"]},
            hovertemplate=f"{plain(variant.name)}<br>{TITLES[by]} %{{x:.4g}}<br>{ablation.metric} %{{y:.4g}}<extra></extra>",
        )
        points += means
    figure.axis("yaxis", **log_axis(y for _, y in points))
    _count_axis(figure, [x for x, _ in points])
    return figure if figure.data else None


def speed_up_curves(ablation: Ablation) -> Figure | None:
    """How many times sooner each variant has the baseline's score, over the baseline's images; None where no score has two times."""
    baseline = baseline_of(ablation)
    if baseline is None:
        return None
    figure = Figure(f"training images of {baseline.name}", "speed-up in images")
    for place, variant in enumerate(ablation.variants):
        if variant is not baseline and (curve := speed_up_curve(variant, baseline)):
            figure.add(name=plain(variant.name), mode="lines+markers", x=[x for x, _ in curve], y=[y for _, y in curve],
                       line={**colour(place), "width": 2}, marker={"size": 7, "color": colour(place)["color"]},
                       hovertemplate=f"{plain(variant.name)}<br>%{{x:.4g}} images: %{{y:.2f}} times<extra></extra>")
    figure.line_at(1, baseline.name, dash="solid")
    _count_axis(figure, [x for trace in figure.data for x in trace["x"]])
    return figure if figure.data else None


def _title(results: StudyResults, by: By) -> str:
    return "GPU-seconds" if by == "seconds" and any(gpu_seconds_of(t, results) for t in results.trials) else TITLES[by]


def _per_image(trial: TrialResult, by: By, results: StudyResults | None = None) -> float:
    """What one training image costs; 0 where it is not known."""
    if by == "images":
        return 1.0
    if by == "macs":
        return macs_per_image(trial) or 0.0
    return (gpu_seconds_of(trial, results) or trial.train_seconds) / trial.images if trial.images else 0.0


def _mean_per_image(trials: Sequence[TrialResult], by: By) -> float:
    found = [scale for t in trials if t.status == "completed" and (scale := _per_image(t, by))]
    return sum(found) / len(found)


def _count_axis(figure: Figure, values: Sequence[float]) -> None:
    """From zero, with ticks such as 15k."""
    figure.axis("xaxis", rangemode="tozero", exponentformat="SI", nticks=6)
    if not values:
        figure.axis("xaxis", range=[0, 1])
