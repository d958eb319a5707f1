"""Figures as SVG, for papers: drawn by Matplotlib, with text that stays text."""

from __future__ import annotations

import html
import io
import math
import warnings
from typing import TYPE_CHECKING, Any

from reports.figures.figure import OTHER, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "snrlab", "font.family": "sans-serif", "font.size": 9.0, "text.parse_math": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e3e6ea", "grid.linewidth": 0.6,
    "legend.frameon": False, "axes.unicode_minus": True, "font.sans-serif": ["DejaVu Sans"],
}
_DASHES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
_MARKERS = {"circle": "o", "circle-open": "o", "diamond": "D", "diamond-open": "D", "x": "x", "x-thin-open": "x", "star": "*"}
_PIXELS = 96.0  # an inch
_WIDTH = 6.4  # inches


def svg(figure: Figure) -> str:
    """The same bytes for the same figure."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font lacks are the reader's own font's, in an SVG
        canvas = Canvas(figsize=(_WIDTH, figure.layout["height"] / _PIXELS), layout="constrained")
        axes = canvas.subplots()
        names = _names(figure)
        for trace in figure.data:
            _DRAW[trace["type"]](axes, trace, names)
        _finish(axes, figure, names)
        out = io.StringIO()
        canvas.savefig(out, format="svg", metadata={"Date": None, "Creator": "snrlab"})
    return out.getvalue()


def _names(figure: Figure) -> dict[str, dict[Any, int]]:
    """Places of the words on axes that have words, in order of their first point."""
    found: dict[str, dict[Any, int]] = {}
    for axis in ("x", "y"):
        given = figure.layout[f"{axis}axis"].get("categoryarray", [])
        words = [*given, *(v for trace in figure.data for v in trace[axis] if isinstance(v, str))]
        found[axis] = {word: i for i, word in enumerate(dict.fromkeys(words))}
    return found


def _placed(values: list[Any], names: dict[Any, int]) -> list[float]:
    return [math.nan if v is None else float(names[v]) if v in names else float(v) for v in values]


def _scatter(axes: Axes, trace: dict[str, Any], names: dict[str, dict[Any, int]]) -> None:
    x, y = _placed(trace["x"], names["x"]), _placed(trace["y"], names["y"])
    mode, line, marker = trace.get("mode", "lines"), trace.get("line", {}), trace.get("marker", {})
    colour, symbol = line.get("color") or marker.get("color"), marker.get("symbol", "circle")
    style: dict[str, Any] = {"color": colour, "alpha": trace.get("opacity", 1.0), "linestyle": "none", "label": _label(trace)}
    if "lines" in mode:
        style |= {"linestyle": _DASHES[line.get("dash", "solid")], "linewidth": 0.75 * line.get("width", 2)}
    if "markers" in mode:
        style |= {"marker": _MARKERS[symbol], "markersize": 0.75 * marker.get("size", 6)}
        if "open" in symbol:
            style["markerfacecolor"] = "none"
    if line.get("shape") == "hv":
        style["drawstyle"] = "steps-post"
    axes.plot(x, y, **style)
    for error, values in (("xerr", trace.get("error_x")), ("yerr", trace.get("error_y"))):
        if values:
            both: dict[str, Any] = {error: [values.get("arrayminus", values["array"]), values["array"]]}
            axes.errorbar(x, y, **both, fmt="none", ecolor=colour, elinewidth=values.get("thickness", 1), capsize=2)


def _bar(axes: Axes, trace: dict[str, Any], names: dict[str, dict[Any, int]]) -> None:
    colours = trace["marker"]["color"]
    if not isinstance(colours, str):
        from matplotlib.colors import LinearSegmentedColormap

        low, high = trace["marker"]["cmin"], trace["marker"]["cmax"]
        shades = LinearSegmentedColormap.from_list("shades", [colour for _, colour in trace["marker"]["colorscale"]])
        colours = [shades((value - low) / (high - low)) for value in colours]
    bars = axes.barh(_placed(trace["y"], names["y"]), trace["x"], left=trace.get("base"), height=0.6, color=colours, edgecolor="white")
    if whiskers := trace.get("error_x"):
        axes.errorbar(trace["x"], _placed(trace["y"], names["y"]), xerr=[whiskers["arrayminus"], whiskers["array"]], fmt="none",
                      ecolor=OTHER, capsize=2)
    axes.bar_label(bars, labels=list(trace["text"]), label_type="center", fontsize=8)


def _heatmap(axes: Axes, trace: dict[str, Any], names: dict[str, dict[Any, int]]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("shades", [colour for _, colour in trace["colorscale"]])
    mesh = axes.pcolormesh(trace["x"], trace["y"], trace["z"], vmin=trace["zmin"], vmax=trace["zmax"], cmap=shades, shading="nearest")
    axes.figure.colorbar(mesh, ax=axes, label=trace["colorbar"]["title"]["text"])


_DRAW = {"scatter": _scatter, "bar": _bar, "heatmap": _heatmap}


def _finish(axes: Axes, figure: Figure, names: dict[str, dict[Any, int]]) -> None:
    """Axes, reference lines, annotations and the legend."""
    from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator, PercentFormatter

    for letter, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        given = figure.layout[f"{letter}axis"]
        (axes.set_xlabel if letter == "x" else axes.set_ylabel)(html.unescape(given["title"]["text"]))
        limits, scale = (axes.set_xlim, axes.set_xscale) if letter == "x" else (axes.set_ylim, axes.set_yscale)
        if names[letter]:
            axis.set_ticks(list(names[letter].values()), [html.unescape(str(n).replace("<br>", "\n")) for n in names[letter]])
            limits(-0.6, len(names[letter]) - 0.4)
        elif given.get("type") == "log":
            scale("log")
            axis.set_ticks(given["tickvals"], given["ticktext"])
            axis.set_minor_locator(NullLocator())
            limits(*(10.0**end for end in given["range"]))
        elif "%" in given.get("tickformat", ""):
            axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        elif given.get("exponentformat") == "SI":
            axis.set_major_formatter(EngFormatter(sep=""))
        if "range" in given and given.get("type") != "log":
            limits(*given["range"])
        if given.get("tickvals") == []:
            axis.set_major_locator(FixedLocator([]))
    for shape in figure.layout["shapes"]:
        if shape["type"] == "rect":
            axes.axvspan(shape["x0"], shape["x1"], color=shape["fillcolor"], alpha=shape["opacity"], linewidth=0, zorder=0)
        else:
            draw, value = (axes.axhline, shape["y0"]) if shape.get("xref") else (axes.axvline, shape["x0"])
            draw(value, color=shape["line"]["color"], linestyle=_DASHES[shape["line"]["dash"]], linewidth=1)
    for note in figure.layout["annotations"]:
        _annotate(axes, note, figure, names)
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        axes.legend(handles, labels, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=min(3, len(labels)))


def _annotate(axes: Axes, note: dict[str, Any], figure: Figure, names: dict[str, dict[Any, int]]) -> None:
    place = {}
    for letter in ("x", "y"):
        value = names[letter].get(note[letter], note[letter])
        log = figure.layout[f"{letter}axis"].get("type") == "log" and f"{letter}ref" not in note
        place[letter] = 10.0**value if log else value
    transform = {(True, False): axes.get_yaxis_transform(), (False, True): axes.get_xaxis_transform()}.get(
        ("xref" in note, "yref" in note), axes.transData)
    axes.text(place["x"], place["y"], html.unescape(note["text"]), transform=transform, fontsize=8, color="#5b6675", clip_on=True,
              ha=note.get("xanchor", "center"), va=note.get("yanchor", "center"))


def _label(trace: dict[str, Any]) -> str | None:
    """None for the legend's sake; a first underscore would hide it, too."""
    if trace.get("showlegend") is False or not trace.get("name"):
        return None
    return html.unescape(trace["name"]).lstrip("_")[:80] or None
