"""Gradients by noise level, where `diagnostics_every` looked at them: how far neighbouring levels pull together, and how strongly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean, geometric_mean

from reports.figures.figure import Figure, colour, log_axis, plain
from reports.figures.groups import MOST_ALONE, name_of
from reports.figures.noise_levels import AXIS
from reports.results import StudyResults, TrialResult
from reports.variants import Ablation

_COSINE, _NORM = "grad_cosine/log_snr_", "grad_norm/log_snr_"


def cosines(results: StudyResults, ablation: Ablation | None) -> Figure | None:
    """Cosine between the gradients of neighbouring buckets of log SNR; below 0 they are in conflict.  None where none were looked at."""
    figure = _by_level(results, ablation, "cosine of neighbouring levels", _COSINE, fmean)
    if figure:
        figure.line_at(0, "conflict below", dash="solid")
        figure.axis("yaxis", range=[-1.05, 1.05])
    return figure


def norms(results: StudyResults, ablation: Ablation | None) -> Figure | None:
    """Norm of each bucket's mean gradient of the training loss."""
    figure = _by_level(results, ablation, "norm of the gradient", _NORM, geometric_mean)
    if figure:
        figure.axis("yaxis", **log_axis(y for trace in figure.data for y in trace["y"]))
    return figure


def _by_level(results: StudyResults, ablation: Ablation | None, title: str, prefix: str, mean: Callable[[Sequence[float]], float]
              ) -> Figure | None:
    """A line per variant, of means over its seeds, or per trial of a search's best ones."""
    groups = ([(v.name, list(v.trials)) for v in ablation.variants] if ablation
              else [(name_of(t), [t]) for t in results.ranked[:MOST_ALONE]])
    figure = Figure(AXIS, title, 300)
    for place, (name, trials) in enumerate(groups):
        found = [by_level for t in trials if t.status == "completed" and (by_level := _numbers(t, prefix))]
        levels = sorted(set.intersection(*(set(by_level) for by_level in found))) if found else []
        if levels:
            figure.add(
                name=plain(name), mode="lines+markers", x=levels, y=[mean([by_level[x] for by_level in found]) for x in levels],
                line={**colour(place), "width": 2}, hovertemplate=f"{plain(name)}<br>log SNR %{{x}}: %{{y:.3g}}<extra></extra>",
            )
    return figure if figure.data else None


def _numbers(trial: TrialResult, prefix: str) -> dict[float, float]:
    """By log SNR, of the last look; a number of two levels lies between them."""
    found = {tuple(map(float, name.removeprefix(prefix).split("_"))): value for name, value in trial.metrics.items()
             if name.startswith(prefix)}
    return {fmean(levels): value for levels, value in found.items() if value > 0 or prefix == _COSINE}
