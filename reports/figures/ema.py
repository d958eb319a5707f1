"""Scores against EMA length, and the best lengths."""

from __future__ import annotations

import math

from reports.figures.figure import HIGHLIGHT, OTHER, Figure, log_axis, plain
from reports.figures.groups import Points, add_lines, name_of
from reports.results import StudyResults, TrialResult
from reports.variants import Ablation

_LENGTH = "EMA length sigma_rel"
_MOST_OPTIMA = 40  # rows that can be read
# Of the best score: a floor further below would leave the curves no room.
_FLOOR_IN_SIGHT, _RELATIVE_FLOOR_IN_SIGHT = 0.15, 0.5


def ema_curves(results: StudyResults, ablation: Ablation | None = None) -> Figure:
    """Score against EMA length, a line per trial, and classical averages as marks; intervals are 95 % of sampling error."""
    figure = Figure(_LENGTH, results.metric)
    values = add_lines(figure, results, ablation, _scores, lambda t: [1.96 * (p.standard_error or 0.0) for p in t.ema_curve])
    for trial in results.ranked:
        if marks := trial.classical_marks:
            figure.add(
                name="classical averages", showlegend=False, mode="markers", x=[p.sigma_rel for p in marks], y=[p.distance for p in marks],
                text=[f"{name_of(trial)}: {plain(p.name)}" for p in marks], customdata=[trial.number] * len(marks),
                marker={"symbol": "diamond-open", "size": 10, "color": HIGHLIGHT if trial is results.ranked[0] else OTHER},
                error_y={"type": "data", "array": [1.96 * (p.standard_error or 0.0) for p in marks], "thickness": 1, "width": 2},
                hovertemplate=f"%{{text}}<br>width of sigma_rel %{{x:.3g}}<br>{results.metric} %{{y:.4g}}<extra></extra>",
            )
            values += [p.distance for p in marks]
    _axes(figure, results, values, results.floor, _FLOOR_IN_SIGHT)
    return figure


def relative_ema_curves(results: StudyResults, ablation: Ablation | None = None) -> Figure:
    """Score over the trial's own best: how steep each optimum is, whatever the trial's level."""
    figure = Figure(_LENGTH, f"{results.metric} / the trial's best")
    values = add_lines(figure, results, ablation, _relative)
    floor = results.floor / min(best) if results.floor and (best := _best_scores(results)) else None
    _axes(figure, results, values, floor, _RELATIVE_FLOOR_IN_SIGHT)
    return figure


def optima(results: StudyResults, ablation: Ablation | None = None) -> Figure | None:
    """Best EMA length of each completed trial with its 95 % interval; one mark per time, guidance and metric of the sweep."""
    named = ([(f"{plain(v.name)}, seed {t.seed}", t) for v in ablation.variants for t in v.trials if t.status == "completed"] if ablation
             else [(name_of(t), t) for t in results.ranked])
    shown = {trial.number: name for name, trial in named if trial.optima}
    trials = [trial for _, trial in named if trial.number in shown][:_MOST_OPTIMA]
    figure = Figure(_LENGTH, "", 110 + 22 * len(trials))
    for trial in reversed(trials):
        name = shown[trial.number]
        last = max(o["images"] for o in trial.optima)
        for filled in (False, True):
            found = [o for o in trial.optima if (o["images"] == last) == filled]
            if not found:
                continue
            best = [o["sigma_rel"] for o in found]
            ends = [(b if o["low"] is None else o["low"], b if o["high"] is None else o["high"]) for b, o in zip(best, found, strict=True)]
            figure.add(
                name="end of training" if filled else "earlier", mode="markers", showlegend=False,
                x=best, y=[name] * len(found), customdata=[trial.number] * len(found),
                text=[f"{plain(o['metric'])}, {o['images']} images, guidance weight {o['guidance_weight']:g}" for o in found],
                error_x={"type": "data", "symmetric": False, "array": [high - b for (_, high), b in zip(ends, best, strict=True)],
                         "arrayminus": [b - low for (low, _), b in zip(ends, best, strict=True)]},
                marker={"color": HIGHLIGHT if trial is results.ranked[0] else OTHER, "size": 9,
                        "symbol": "circle" if filled else "circle-open"},
                hovertemplate=f"{name}: %{{text}}<br>sigma_rel %{{x:.3g}}<extra></extra>",
            )
    figure.axis("xaxis", **log_axis([end for t in trials for o in t.optima for end in (o["low"], o["high"], o["sigma_rel"])]))
    return figure if figure.data else None


def _scores(trial: TrialResult) -> Points:
    return [(p.sigma_rel, p.distance) for p in trial.ema_curve if math.isfinite(p.distance)]


def _relative(trial: TrialResult) -> Points:
    found = [(x, y) for x, y in _scores(trial) if y > 0]
    best = min((y for _, y in found), default=1.0)
    return [(x, y / best) for x, y in found]


def _best_scores(results: StudyResults) -> list[float]:
    return [y for trial in results.ranked for _, y in _scores(trial) if y > 0]


def _axes(figure: Figure, results: StudyResults, values: list[float], floor: float | None, in_sight: float) -> None:
    figure.axis("xaxis", **log_axis(x for trial in results.trials for x, _ in _scores(trial)))
    near = floor is not None and floor > 0 and bool(values) and floor > in_sight * min(values)
    figure.axis("yaxis", **log_axis([*values, *([floor] if near else [])]))
    if floor and near:
        figure.line_at(floor, "real images")
