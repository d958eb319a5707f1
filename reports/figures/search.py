"""What a search has tried: history, a slice per parameter, parallel coordinates, importance and trade-offs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from reports.figures.figure import BAND, HIGHLIGHT, OTHER, STOPPED, Figure, joined, log_axis, plain, short_number
from reports.figures.groups import MOST_DRAWN, text_of
from reports.partial_dependence import PartialDependence, partial_dependences
from reports.results import StudyResults, TrialResult
from search_spaces.distributions import Categorical, Distribution

_BEST_SHARE = 0.1  # of the completed trials, which parallel coordinates tell apart
_FEWEST_BEST = 3


def history(results: StudyResults) -> Figure | None:
    """Score by trial number, and the best one so far."""
    figure = Figure("trial", results.metric)
    done = _completed(results)
    stopped = [t for t in results.searched if t.status == "stopped" and t.curve and math.isfinite(t.curve[-1][1])]
    if len(done) < 2:
        return None
    figure.add(name="stopped (interim score)", mode="markers", x=[t.number for t in stopped], y=[t.curve[-1][1] for t in stopped],
               marker={"color": STOPPED, "symbol": "x-thin-open", "size": 7}, **_points(stopped, results.metric))
    figure.add(name="completed", mode="markers", x=[t.number for t in done], y=[t.best for t in done],
               marker={"color": OTHER, "size": 8}, **_points(done, results.metric))
    lowest, line = math.inf, []
    for trial in done:
        lowest = min(lowest, trial.best or math.inf)
        line.append(lowest)
    figure.add(name="best so far", mode="lines", x=[t.number for t in done], y=line, line={"color": HIGHLIGHT, "width": 2, "shape": "hv"},
               hoverinfo="skip")
    figure.axis("yaxis", **log_axis([t.best for t in done]))
    return figure


def slices(results: StudyResults) -> list[tuple[str, Figure]]:
    """(parameter, figure): score against the values of each searched parameter."""
    space = _space(results)
    dependences = partial_dependences(space, _completed(results))
    return [(path, _slice(results, path, distribution, dependences.get(path))) for path, distribution in space.items()]


def _slice(results: StudyResults, path: str, distribution: Distribution, dependence: PartialDependence | None) -> Figure:
    figure = Figure(path, results.metric, 300)
    done = [t for t in _completed(results) if path in t.values]
    numbers = all(isinstance(t.values[path], int | float) and not isinstance(t.values[path], bool) for t in done)
    best = results.ranked[0].number if results.ranked else None
    for name, trials, marker in (
        ("completed", [t for t in done if t.number != best], {"color": OTHER, "size": 7}),
        ("best", [t for t in done if t.number == best], {"color": HIGHLIGHT, "size": 11, "symbol": "star"}),
    ):
        figure.add(name=name, mode="markers", x=[t.values[path] if numbers else plain(str(t.values[path])) for t in trials],
                   y=[t.best for t in trials], marker=marker, showlegend=False, **_points(trials, results.metric))
    if dependence:
        _add_dependence(figure, dependence, numbers, line=not isinstance(distribution, Categorical))
    if numbers and getattr(distribution, "log", False):
        figure.axis("xaxis", **log_axis(float(t.values[path]) for t in done))
    elif not numbers:
        figure.axis("xaxis", type="category")
    figure.axis("yaxis", **log_axis(t.best for t in done))
    return figure


def _add_dependence(figure: Figure, found: PartialDependence, numbers: bool, line: bool) -> None:
    """A line with a band over a range, or marks with error bars over choices."""
    x = found.values if numbers else [plain(str(value)) for value in found.values]
    error = {"type": "data", "symmetric": False, "array": [high - y for high, y in zip(found.high, found.mean, strict=True)],
             "arrayminus": [y - low for low, y in zip(found.low, found.mean, strict=True)]}
    if line:
        figure.add(name="95 % of the trees", mode="lines", x=[*x, *reversed(x)], y=[*found.high, *reversed(found.low)], fill="toself",
                   line={"width": 0}, fillcolor=BAND, hoverinfo="skip", showlegend=False)
    drawn: dict[str, Any] = {"mode": "lines"} if line else {"mode": "markers", "error_y": error}
    figure.add(
        name="partial dependence", x=x, y=found.mean, showlegend=False, line={"color": HIGHLIGHT, "width": 2},
        marker={"color": HIGHLIGHT, "size": 9, "symbol": "diamond"}, hovertemplate="%{x}: %{y:.4g} on average<extra></extra>", **drawn,
    )


def parallel_coordinates(results: StudyResults) -> Figure | None:
    """A line per completed trial over the searched parameters, each on its own scale; the best tenth stands out."""
    space = _space(results)
    done = [t for t in results.ranked if any(path in t.values for path in space)]
    if len(space) < 2 or len(done) < 2:
        return None
    names = [_short_path(path, space) for path in space]
    figure = Figure("", "from low to high", 420)
    best = max(_FEWEST_BEST, round(_BEST_SHARE * len(done)))
    groups = ((f"others ({len(done[best:])})", done[best:], OTHER, 1.0, 0.35),
              (f"best {min(best, len(done))}", done[1:best], HIGHLIGHT, 1.5, 0.6), ("best", done[:1], HIGHLIGHT, 3.5, 1.0))
    for name, trials, colour, width, opacity in groups:
        if trials:
            lines = [_coordinates(t, space, names) for t in trials[:MOST_DRAWN]]
            figure.add(name=name, mode="lines", line={"color": colour, "width": width}, opacity=opacity, **joined(lines),
                       hovertemplate=f"{text_of(trials[0])}<extra></extra>" if len(trials) == 1 else "trial %{customdata}<extra></extra>")
    for name, (low, high) in zip(names, (_ends(d) for d in space.values()), strict=True):
        for text, y, anchor in ((low, 0.0, "top"), (high, 1.0, "bottom")):
            figure.layout["annotations"].append({"text": plain(text), "x": name, "y": y, "showarrow": False, "yanchor": anchor})
    figure.axis("yaxis", range=[-0.14, 1.14], tickvals=[])
    figure.axis("xaxis", type="category", categoryarray=names, categoryorder="array")
    return figure


def _coordinates(trial: TrialResult, space: Mapping[str, Distribution], names: list[str]) -> tuple[int, list[str], list[float | None]]:
    shares = [distribution.share_of(trial.values[path]) if path in trial.values else None for path, distribution in space.items()]
    return trial.number, names, shares


def _ends(distribution: Distribution) -> tuple[str, str]:
    low, high = distribution.at(0.0), distribution.at(1.0)
    return (_text(low), _text(high))


def _text(value: object) -> str:
    return short_number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _short_path(path: str, space: Mapping[str, Distribution]) -> str:
    """The last word of a path, where no other path ends in it."""
    last = path.removesuffix(".kind").rpartition(".")[2]
    return plain(last if sum(p.removesuffix(".kind").rpartition(".")[2] == last for p in space) == 1 else path)


def importance(results: StudyResults) -> Figure:
    """How much each searched parameter mattered for being among the best."""
    ordered = sorted(results.importances.items(), key=lambda item: item[1])
    shares = [share for _, (share, _, _) in ordered]
    whiskers = {"type": "data", "symmetric": False, "array": [high - share for _, (share, _, high) in ordered],
                "arrayminus": [share - low for _, (share, low, _) in ordered]}
    figure = Figure("share of importance for the best trials (PED-ANOVA), 95 % bootstrap interval", "", 110 + 42 * len(ordered))
    figure.add("bar", name="importance", x=shares, y=[plain(path) for path, _ in ordered], orientation="h", marker={"color": HIGHLIGHT},
               error_x=whiskers, text=[f"{share:.0%}" for share in shares], textposition="inside", insidetextanchor="start",
               showlegend=False)
    figure.axis("xaxis", range=[0, 1], tickformat=".0%")
    return figure


def trade_offs(results: StudyResults) -> list[tuple[str, Figure]]:
    """(metric, figure) of the score against every other objective and every bounded cost; the Pareto front is a line."""
    return [(name, _trade_off(results, name)) for name in results.further_metrics if any(name in t.metrics for t in results.trials)]


def _trade_off(results: StudyResults, name: str) -> Figure:
    figure = Figure(name, results.metric)
    done = [t for t in results.trials if t.status == "completed" and t.best is not None and name in t.metrics]
    on_front = {t.number for t in results.front}
    front = sorted((t for t in done if t.number in on_front), key=lambda t: t.metrics[name])
    if name in dict(results.objectives):
        figure.add(x=[t.metrics[name] for t in front], y=[t.best for t in front], mode="lines", name="Pareto front",
                   line={"color": HIGHLIGHT, "width": 2, "shape": "hv"}, hoverinfo="skip")
    groups = (
        ("completed", [t for t in done if results.within_bounds(t) and t.number not in on_front], OTHER, "circle"),
        ("on the front", front, HIGHLIGHT, "circle"),
        ("beyond a bound", [t for t in done if not results.within_bounds(t)], STOPPED, "x"),
    )
    for label, trials, colour, symbol in groups:
        if trials:
            figure.add(
                x=[t.metrics[name] for t in trials], y=[t.best for t in trials], mode="markers", name=label,
                marker={"color": colour, "size": 10, "symbol": symbol}, customdata=[t.number for t in trials],
                text=[text_of(t) for t in trials],
                hovertemplate=f"%{{text}}<br>{name} %{{x:.4g}}<br>{results.metric} %{{y:.4g}}<extra></extra>",
            )
    figure.axis("yaxis", **log_axis(t.best for t in done))
    figure.axis("xaxis", exponentformat="SI")
    if name in results.bounds:
        figure.line_at(results.bounds[name], "bound", across="x", dash="dash")
    return figure


def _space(results: StudyResults) -> Mapping[str, Distribution]:
    return results.study.space if results.study else {}


def _completed(results: StudyResults) -> list[TrialResult]:
    return [t for t in results.searched if t.status == "completed" and t.best is not None and math.isfinite(t.best)]


def _points(trials: list[TrialResult], metric: str) -> dict[str, Any]:
    return {"customdata": [t.number for t in trials], "text": [text_of(t) for t in trials],
            "hovertemplate": f"%{{text}}<br>{metric} %{{y:.4g}}<extra></extra>"}
