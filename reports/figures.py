"""The charts of a report, as Plotly figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from reports.results import StudyResults, TrialResult
from trainables.errors import ConfigError
from trainables.schedules import make_schedule

HIGHLIGHT, OTHER, STOPPED = "#0b63ce", "#8a94a3", "#d0d5dc"


def ema_curves(results: StudyResults) -> go.Figure:
    """Score against EMA length, a line per trial, and its classical averages as marks; the best trial stands out."""
    figure = empty_figure("EMA length sigma_rel", results.metric)
    for trial in results.trials:
        points = trial.ema_curve
        if not points:
            continue
        style = _style(results, trial)
        figure.add_scatter(
            x=[p.sigma_rel for p in points], y=[p.distance for p in points], name=_name(trial), mode="lines+markers", **style,
            error_y={"array": [1.96 * (p.standard_error or 0.0) for p in points], "thickness": 1, "width": 2},
            hovertemplate=f"{_name(trial)}<br>{plain(trial.label)}<br>sigma_rel %{{x:.3g}}<br>{results.metric} %{{y:.3f}}<extra></extra>",
        )
        marks, best = trial.classical_marks, bool(results.ranked) and trial is results.ranked[0]
        if marks:
            figure.add_scatter(
                x=[p.sigma_rel for p in marks], y=[p.distance for p in marks], text=[plain(p.name) for p in marks], mode="markers",
                marker={"symbol": "diamond-open", "size": 10, "color": HIGHLIGHT if best else OTHER}, showlegend=False,
                error_y={"array": [1.96 * (p.standard_error or 0.0) for p in marks], "thickness": 1, "width": 2},
                hovertemplate=f"{_name(trial)}<br>%{{text}}<br>width of sigma_rel %{{x:.3g}}<br>{results.metric} %{{y:.3f}}<extra></extra>",
            )
    figure.update_xaxes(type="log", tickvals=[0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.17, 0.25])
    figure.update_yaxes(type="log")
    if results.floor:
        figure.add_hline(y=results.floor, line={"dash": "dot", "color": OTHER}, annotation_text="real images", annotation_font_color=OTHER)
    return figure


def optima(results: StudyResults) -> go.Figure | None:
    """Best EMA length of each completed trial with its 95 % interval; one mark per time, guidance and metric of the sweep."""
    figure = empty_figure("EMA length sigma_rel", "")
    drawn = 0
    for trial in reversed(results.ranked):
        for optimum in trial.optima:
            low, high = optimum["low"], optimum["high"]
            spread = None if low is None else {
                "type": "data", "symmetric": False, "array": [high - optimum["sigma_rel"]], "arrayminus": [optimum["sigma_rel"] - low],
            }
            where = f"{optimum['metric']}, {optimum['images']} images, guidance weight {optimum['guidance_weight']:g}"
            symbol = "circle" if optimum["images"] == max(o["images"] for o in trial.optima) else "circle-open"
            figure.add_scatter(
                x=[optimum["sigma_rel"]], y=[_name(trial)], error_x=spread, mode="markers", showlegend=False,
                marker={"color": HIGHLIGHT if trial is results.ranked[0] else OTHER, "size": 9, "symbol": symbol},
                hovertemplate=f"{_name(trial)}: {where}<br>sigma_rel %{{x:.3g}}<extra></extra>",
            )
            drawn += 1
    figure.update_xaxes(type="log", tickvals=[0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.17, 0.25])
    figure.update_layout(height=110 + 26 * len(results.ranked))
    return figure if drawn else None


def trade_offs(results: StudyResults) -> list[tuple[str, go.Figure]]:
    """(metric, figure) of the score against every other objective and every bounded cost; the Pareto front is a line."""
    return [(name, _trade_off(results, name)) for name in results.further_metrics if any(name in t.metrics for t in results.trials)]


def _trade_off(results: StudyResults, name: str) -> go.Figure:
    figure = empty_figure(name, results.metric)
    done = [t for t in results.trials if t.status == "completed" and t.best is not None and name in t.metrics]
    front = sorted((t for t in results.front if t in done), key=lambda t: t.metrics[name])
    if name in dict(results.objectives):
        figure.add_scatter(x=[t.metrics[name] for t in front], y=[t.best for t in front], mode="lines", name="Pareto front",
                           line={"color": HIGHLIGHT, "width": 2, "shape": "hv"}, hoverinfo="skip")
    groups = (
        ("completed", [t for t in done if results.within_bounds(t) and t not in front], OTHER, "circle"),
        ("on the front", front, HIGHLIGHT, "circle"),
        ("beyond a bound", [t for t in done if not results.within_bounds(t)], STOPPED, "x"),
    )
    for label, trials, colour, symbol in groups:
        if trials:
            figure.add_scatter(
                x=[t.metrics[name] for t in trials], y=[t.best for t in trials], mode="markers", name=label,
                marker={"color": colour, "size": 10, "symbol": symbol}, text=[f"{_name(t)}<br>{plain(t.label)}" for t in trials],
                hovertemplate=f"%{{text}}<br>{name} %{{x:.4g}}<br>{results.metric} %{{y:.4g}}<extra></extra>",
            )
    if name in results.bounds:
        figure.add_vline(x=results.bounds[name], line={"color": OTHER, "dash": "dash"}, annotation_text="bound")
    figure.update_yaxes(type="log")
    return figure


def convergence(results: StudyResults) -> go.Figure:
    """Intermediate score against images seen, a line per trial."""
    figure = empty_figure("training images", f"interim {results.metric}")
    for trial in results.trials:
        if trial.curve:
            hover = f"{_name(trial)}<br>{plain(trial.label)}<br>%{{x}} images: %{{y:.3f}}<extra></extra>"
            figure.add_scatter(
                x=[i for i, _ in trial.curve], y=[v for _, v in trial.curve], name=_name(trial), mode="lines+markers",
                **_style(results, trial), hovertemplate=hover,
            )
    figure.update_yaxes(type="log")
    return figure


def importance(results: StudyResults) -> go.Figure:
    """How much each searched parameter mattered for being among the best."""
    ordered = sorted(results.importances.items(), key=lambda item: item[1])
    shares = [share for _, (share, _, _) in ordered]
    bars = {
        "type": "data", "symmetric": False, "array": [high - share for _, (share, _, high) in ordered],
        "arrayminus": [share - low for _, (share, low, _) in ordered],
    }
    figure = empty_figure("share of importance for the best trials (PED-ANOVA), 95 % bootstrap interval", "")
    figure.add_bar(x=shares, y=[path for path, _ in ordered], orientation="h", marker_color=HIGHLIGHT, error_x=bars,
                   text=[f"{share:.0%}" for share in shares], textposition="inside", insidetextanchor="start")
    figure.update_layout(height=110 + 42 * len(ordered), showlegend=False)
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    return figure


def densities(results: StudyResults) -> go.Figure | None:
    """Density of training noise levels of the best and the worst completed trial, from the very functions that training used."""
    chosen = results.ranked[:1] + results.ranked[1:][-1:]
    figure = empty_figure("log SNR", "density p(log SNR)")
    log_snr = np.linspace(-15.0, 15.0, 301)
    for trial, colour in zip(chosen, (HIGHLIGHT, OTHER), strict=False):
        params = {k.removeprefix("schedule."): v for k, v in trial.recipe.items() if k.startswith("schedule.")}
        kind = params.pop("kind", "")
        try:
            density = np.exp(make_schedule(kind, **params).log_prob(log_snr))
        except ConfigError:
            return None
        figure.add_scatter(x=log_snr, y=density, name=f"{_name(trial)}: {plain(kind)}", mode="lines", line_color=colour)
    return figure if chosen else None


def _style(results: StudyResults, trial: TrialResult) -> dict[str, Any]:
    if results.ranked and trial is results.ranked[0]:
        return {"line": {"color": HIGHLIGHT, "width": 3}, "marker": {"size": 8}}
    if trial.status != "completed":
        return {"line": {"color": STOPPED, "width": 1, "dash": "dot"}, "marker": {"size": 4}}
    return {"line": {"color": OTHER, "width": 1.5}, "marker": {"size": 5}}


def _name(trial: TrialResult) -> str:
    return f"trial {trial.number}" + ("" if trial.status == "completed" else f" ({plain(trial.status)})")


def plain(text: str) -> str:
    """Plotly reads a little HTML in texts: what users wrote is escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def empty_figure(x: str, y: str) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        template="plotly_white", height=380, margin={"l": 60, "r": 16, "t": 16, "b": 56}, xaxis_title=x, yaxis_title=y,
        font={"family": "system-ui, sans-serif", "size": 13}, legend={"orientation": "h", "y": -0.25},
    )
    return figure
