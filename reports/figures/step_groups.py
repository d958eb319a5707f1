"""The chart of step groups: who denoises which noise levels, and with how much compute."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from reports.figures.figure import Figure, plain
from reports.results import TrialResult
from reports.step_groups import Group, StepGroups
from trainables.log_snr import from_edm_sigma

_SCALE = [[0.0, "#dbe8f8"], [1.0, "#0b63ce"]]
_LINE = 18  # characters
_WIDEST = 1.0  # of an open end beyond the sampler's range, in log SNR


def groups_on_the_axis(shown: Sequence[tuple[str, TrialResult, StepGroups]]) -> Figure:
    """A bar per trial over log SNR, in parts of its groups; darker parts have more of the base's multiply-accumulates."""
    figure = Figure("noise ← log SNR → data", "", 120 + 46 * len(shown))
    for title, trial, found in reversed(shown):
        ends = [_ends(group, trial, found.groups) for group in found.groups]
        texts = [f"{100 * group.ratio:.0f} %" for group in found.groups]
        figure.add(
            "bar", name=_in_lines(title),
            x=[high - low for low, high in ends], base=[low for low, _ in ends], y=[_in_lines(title)] * len(ends),
            orientation="h", width=0.6, text=texts, textposition="inside", insidetextanchor="middle", textangle=0, showlegend=False,
            marker={"color": [group.ratio for group in found.groups], "colorscale": _SCALE, "cmin": 0.3, "cmax": 1.0,
                    "line": {"color": "#ffffff", "width": 2}},
            customdata=[[group.name, group.levels] for group in found.groups],
            hovertemplate=f"{plain(title)}, %{{customdata[0]}}<br>log SNR %{{customdata[1]}}<br>%{{text}} of MACs<extra></extra>",
        )
    figure.layout |= {"barmode": "overlay", "uniformtext": {"minsize": 9, "mode": "hide"}}
    return figure


def _in_lines(title: str) -> str:
    """Long names must leave a phone some room for the bars."""
    return "<br>".join(plain(line) for line in textwrap.wrap(title, _LINE))


def _ends(group: Group, trial: TrialResult, groups: Sequence[Group]) -> tuple[float, float]:
    """Its interval as drawn: open ends reach to the end of the sampler's range, or a little beyond the last edge."""
    low, high = (_level(trial, name, default) for name, default in (("sigma_max", 80.0), ("sigma_min", 0.002)))
    edges = [g.low for g in groups if g.low is not None]
    return (
        group.low if group.low is not None else min([low, *(edge - _WIDEST for edge in edges)]),
        group.high if group.high is not None else max([high, *(edge + _WIDEST for edge in edges)]),
    )


def _level(trial: TrialResult, name: str, default: float) -> float:
    """Log SNR of one end of the sampler's range."""
    return float(from_edm_sigma(float(trial.recipe.get(f"evaluation.sampler.{name}", default))))
