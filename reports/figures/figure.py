"""A chart as plain data in Plotly's form: made in microseconds, drawn in a browser or as SVG, and read as a table of its points."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import plotly.graph_objects as go

HIGHLIGHT, OTHER, STOPPED = "#0b63ce", "#8a94a3", "#c3c9d2"
BAND = "rgba(11, 99, 206, 0.13)"  # around a highlighted line
# Okabe and Ito's colours, which are told apart by most colour-blind readers too; then again with other dashes.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b5569a", "#c98a00", "#3a9bd1", "#7a5195", "#7f6a3f")
_DASHES = ("solid", "dash", "dot", "dashdot")
_STEPS = ((1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0), (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,))
_MOST_TICKS = 7
_LARGE = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))


class Figure:
    """Traces and layout; colours of text, lines and background are the page's own (light or dark)."""

    def __init__(self, x: str, y: str, height: int = 380) -> None:
        self.data: list[dict[str, Any]] = []
        self.layout: dict[str, Any] = {
            "height": height, "xaxis": {"title": {"text": plain(x)}}, "yaxis": {"title": {"text": plain(y)}},
            "shapes": [], "annotations": [],
        }

    def add(self, kind: str = "scatter", **trace: Any) -> None:
        """A trace; texts that users wrote must be `plain`."""
        self.data.append({"type": kind, **trace})

    def axis(self, name: str, **settings: Any) -> None:
        self.layout[name] |= settings

    def line_at(self, value: float, text: str = "", across: str = "y", dash: str = "dot") -> None:
        """A line at a value of an axis (`across`: x or y); where the axis is logarithmic, it must be set before."""
        other = "x" if across == "y" else "y"
        ends = {f"{across}0": value, f"{across}1": value, f"{other}0": 0, f"{other}1": 1, f"{other}ref": f"{other} domain"}
        self.layout["shapes"].append({"type": "line", "line": {"color": OTHER, "dash": dash, "width": 1.5}, **ends})
        if text:
            place = math.log10(value) if self.layout[f"{across}axis"].get("type") == "log" else value
            anchors = {"xanchor": "right", "yanchor": "bottom"} if across == "y" else {"xanchor": "left", "yanchor": "top"}
            self.layout["annotations"].append({
                "text": plain(text), "showarrow": False, across: place, other: 1, f"{other}ref": f"{other} domain", **anchors,
            })

    def band(self, low: float, high: float) -> None:
        """A shaded range of x."""
        self.layout["shapes"].append({
            "type": "rect", "x0": low, "x1": high, "y0": 0, "y1": 1, "yref": "y domain", "fillcolor": OTHER, "opacity": 0.16,
            "line": {"width": 0}, "layer": "below",
        })

    def to_plotly(self) -> go.Figure:
        """As a figure of Plotly's Python library, for notebooks."""
        import plotly.graph_objects as go

        base = {"template": "plotly_white", "margin": {"l": 60, "r": 16, "t": 16, "b": 56}, "legend": {"orientation": "h", "y": -0.25}}
        return go.Figure({"data": self.data, "layout": {**base, **self.layout}})

    def rows(self) -> list[dict[str, Any]]:
        """A row per point: series, trial where it is of one, both coordinates under their titles, and the ends of its interval."""
        x, y = (html.unescape(self.layout[axis]["title"]["text"]) or name for axis, name in (("xaxis", "x"), ("yaxis", "name")))
        return [row for trace in self.data for row in _rows(trace, x, y if y != x else f"{y} (y)")]


def _rows(trace: dict[str, Any], x: str, y: str) -> Iterable[dict[str, Any]]:
    series, trials, texts = trace.get("name", ""), trace.get("customdata"), trace.get("text")
    if trace["type"] == "heatmap":
        for j, level in enumerate(trace["y"]):
            yield from ({"series": html.unescape(series), x: at, y: level, "value": trace["z"][j][i]} for i, at in enumerate(trace["x"]))
        return
    for i, (a, b) in enumerate(zip(trace["x"], trace["y"], strict=True)):
        if a is None or b is None:
            continue
        row: dict[str, Any] = {"series": html.unescape(series)}
        if trials is not None and isinstance(trials[i], int):
            row["trial"] = trials[i]
        if isinstance(texts, Sequence) and not isinstance(texts, str):
            row["text"] = _words(texts[i])
        row |= {x: _words(a), y: _words(b)}
        if "base" in trace:
            row["base"] = trace["base"][i]
        for error, value in (("error_x", a), ("error_y", b)):
            if found := trace.get(error):
                row |= {"low": value - found.get("arrayminus", found["array"])[i], "high": value + found["array"][i]}
        yield row


def _words(value: Any) -> Any:
    return html.unescape(value.replace("<br>", " ")) if isinstance(value, str) else value


def plain(text: str) -> str:
    """Plotly reads a little HTML and TeX in texts: what users wrote is escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("$", "&#36;")


def colour(index: int) -> dict[str, Any]:
    """Line colour and dash of the variant at this place of a design."""
    return {"color": _COLOURS[index % len(_COLOURS)], "dash": _DASHES[index // len(_COLOURS) % len(_DASHES)]}


def joined(lines: Iterable[tuple[int, Sequence[Any], Sequence[Any]]]) -> dict[str, Any]:
    """Many lines as one trace with gaps, which a browser draws a hundred times as fast: (trial, x, y) of each."""
    trace: dict[str, list[Any]] = {"x": [], "y": [], "customdata": []}
    for trial, x, y in lines:
        if trace["x"]:
            for values in trace.values():
                values.append(None)
        trace["x"] += x
        trace["y"] += y
        trace["customdata"] += [trial] * len(x)
    return trace


def log_axis(values: Iterable[float | None], room: float = 1.08) -> dict[str, Any]:
    """Settings of a logarithmic axis over these values, with few plain ticks; empty where none is positive and finite."""
    found = [v for v in values if v is not None and math.isfinite(v) and v > 0]
    if not found:
        return {}
    low, high = min(found) / room, max(found) * room
    ticks = next((t for steps in _STEPS if len(t := _ticks(low, high, steps)) <= _MOST_TICKS), [low, high])
    if len(ticks) < 3:
        ticks = _even_ticks(low, high)
    return {"type": "log", "range": [math.log10(low), math.log10(high)], "tickvals": ticks, "ticktext": [short_number(t) for t in ticks]}


def _ticks(low: float, high: float, steps: Sequence[float]) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [float(f"{step * 10.0**power:.6g}") for power in powers for step in steps if low <= step * 10.0**power <= high]


def _even_ticks(low: float, high: float) -> list[float]:
    """Of a range too narrow for powers of ten."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough)
    return [float(f"{i * step:.6g}") for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def short_number(value: float) -> str:
    """`0.05`, `300`, `15k`, `1.2M`."""
    for suffix, size in _LARGE:
        if abs(value) >= max(size, 1e4):
            return f"{value / size:.4g}{suffix}"
    return f"{value:.4g}"
