"""Charts of a design's variants."""

from __future__ import annotations

import math

import plotly.graph_objects as go

from reports.figures import HIGHLIGHT, OTHER, STOPPED, empty_figure, plain
from reports.variants import Ablation


def forest(ablation: Ablation) -> go.Figure:
    """A row per comparison: the change with its simultaneous interval, and the paired difference of every seed."""
    figure = empty_figure(f"change of {ablation.metric}", "")
    scores = {variant.name: variant.scores for variant in ablation.variants}
    for verdict in reversed(ablation.verdicts):
        c = verdict.comparison
        label = plain(c.variant if ablation.design.family == "baseline" else f"{c.variant} against {c.against}")
        seeds = [seed for seed in scores[c.variant] if seed in scores[c.against]]
        figure.add_scatter(
            x=[scores[c.variant][s] / scores[c.against][s] - 1 for s in seeds], y=[label] * len(seeds), mode="markers", showlegend=False,
            marker={"color": STOPPED, "size": 6}, text=[f"seed {s}" for s in seeds], hovertemplate="%{text}: %{x:+.1%}<extra></extra>",
        )
        value, low, high = (math.expm1(x) for x in (c.difference, c.low, c.high))
        figure.add_scatter(
            x=[value], y=[label], mode="markers", showlegend=False,
            marker={"color": HIGHLIGHT if verdict.word == "better" else OTHER, "size": 11,
                    "symbol": "diamond-open" if verdict.word == "cannot tell yet" else "diamond"},
            error_x={"type": "data", "symmetric": False, "array": [high - value], "arrayminus": [value - low], "thickness": 2},
            hovertemplate=f"{plain(verdict.sentence)}<extra></extra>",
        )
    bound = ablation.design.smallest_effect
    figure.add_vrect(x0=1 / (1 + bound) - 1, x1=bound, fillcolor=STOPPED, opacity=0.25, line_width=0)
    figure.add_vline(x=0, line={"color": OTHER, "width": 1})
    figure.update_xaxes(tickformat="+.0%")
    figure.update_layout(height=120 + 42 * len(ablation.verdicts))
    return figure
