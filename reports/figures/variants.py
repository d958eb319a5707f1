"""Charts of a design's variants."""

from __future__ import annotations

import math

from reports.figures.figure import HIGHLIGHT, OTHER, STOPPED, Figure, plain
from reports.variants import Ablation


def forest(ablation: Ablation) -> Figure:
    """A row per comparison: the change with its simultaneous interval, and the paired difference of every seed."""
    figure = Figure(f"change of {ablation.metric}", "", 120 + 42 * len(ablation.verdicts))
    scores = {variant.name: variant.scores for variant in ablation.variants}
    for verdict in reversed(ablation.verdicts):
        c = verdict.comparison
        label = plain(c.variant if ablation.design.family == "baseline" else f"{c.variant} against {c.against}")
        seeds = [seed for seed in scores[c.variant] if seed in scores[c.against]]
        figure.add(
            name="a seed's own difference", x=[scores[c.variant][s] / scores[c.against][s] - 1 for s in seeds], y=[label] * len(seeds),
            mode="markers", showlegend=False, marker={"color": STOPPED, "size": 6}, text=[f"seed {s}" for s in seeds],
            hovertemplate="%{text}: %{x:+.1%}<extra></extra>",
        )
        value, low, high = (math.expm1(x) for x in (c.difference, c.low, c.high))
        figure.add(
            name=f"{verdict.word}, simultaneous 95 % interval", x=[value], y=[label], mode="markers", showlegend=False,
            marker={"color": HIGHLIGHT if verdict.word == "better" else OTHER, "size": 11,
                    "symbol": "diamond-open" if verdict.word == "cannot tell yet" else "diamond"},
            error_x={"type": "data", "symmetric": False, "array": [high - value], "arrayminus": [value - low], "thickness": 2},
            hovertemplate=f"{plain(verdict.sentence)}<extra></extra>",
        )
    bound = ablation.design.smallest_effect
    figure.band(1 / (1 + bound) - 1, bound)
    figure.line_at(0, across="x", dash="solid")
    figure.axis("xaxis", tickformat="+.0%")
    return figure
