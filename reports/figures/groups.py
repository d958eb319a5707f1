"""Which trials of a chart have a line of their own, and which are drawn together: the best, other completed ones, and stopped ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from reports.curves import Points, geometric_means
from reports.figures.figure import HIGHLIGHT, OTHER, STOPPED, Figure, colour, joined, plain
from reports.results import StudyResults, TrialResult
from reports.variants import Ablation

MOST_ALONE = 6  # trials with lines of their own; more cannot be told apart
MOST_DRAWN = 400  # of the others, evenly over the study; more are a grey area, and slow
MOST_WITH_MARKS = 40  # whose points are marked


def name_of(trial: TrialResult) -> str:
    return f"trial {trial.number}" + ("" if trial.status == "completed" else f" ({plain(trial.status)})")


def text_of(trial: TrialResult) -> str:
    """For hovering."""
    return f"{name_of(trial)}<br>{plain(trial.label)}"


def add_lines(figure: Figure, results: StudyResults, ablation: Ablation | None, curve: Callable[[TrialResult], Points],
              errors: Callable[[TrialResult], list[float]] | None = None) -> list[float]:
    """A line per trial: by variant in a design, by rank in a search.  Returns the values of completed trials, which the scale is made for.

    `errors` are half widths of 95 % intervals; they are drawn for trials with lines of their own in a search.
    """
    if ablation:
        return list(_by_variant(figure, ablation, curve))
    alone = results.ranked[:MOST_ALONE]
    numbers = {t.number for t in alone}
    others = [t for t in results.trials if t.number not in numbers and curve(t)]
    for name, found, line in (
        ("stopped", [t for t in others if t.status != "completed"], {"color": STOPPED, "width": 1, "dash": "dot"}),
        ("others", [t for t in others if t.status == "completed"], {"color": OTHER, "width": 1}),
    ):
        if found:
            drawn = found[:: -(-len(found) // MOST_DRAWN)]
            counted = f"{len(found)}" if len(drawn) == len(found) else f"{len(drawn)} of {len(found)}"
            _add(figure, f"{name} ({counted})", drawn, curve, line, 3, opacity=0.7)
    for place, trial in reversed(list(enumerate(alone))):
        if curve(trial):
            line = {"color": HIGHLIGHT, "width": 3} if place == 0 else {**colour(place), "width": 1.5}
            more = {"error_y": _whiskers(errors(trial))} if errors else {}
            name = f"{name_of(trial)} (best)" if place == 0 else name_of(trial)
            _add(figure, name, [trial], curve, line, 7 if place == 0 else 5, **more)
    completed = [y for t in results.trials if t.status == "completed" for _, y in curve(t)]
    return completed or [y for t in results.trials for _, y in curve(t)]


def _by_variant(figure: Figure, ablation: Ablation, curve: Callable[[TrialResult], Points]) -> Iterator[float]:
    """A colour per variant: a thin line per seed, and a thick one of the geometric means at points that all seeds have."""
    for place, variant in enumerate(ablation.variants):
        found = [t for t in variant.trials if curve(t)]
        if not found:
            continue
        name, line = plain(variant.name), colour(place)
        means = geometric_means([curve(t) for t in found if t.status == "completed"])
        alone = len(means) < 2
        _add(figure, name, found, curve, {**line, "width": 1.5 if alone else 1}, 4 if alone else 3, opacity=1.0 if alone else 0.4,
             legendgroup=name, showlegend=alone)
        if not alone:
            figure.add(name=name, mode="lines+markers", x=[x for x, _ in means], y=[y for _, y in means], line={**line, "width": 2.5},
                       marker={"size": 6, "color": line["color"]}, legendgroup=name,
                       hovertemplate=f"{name}, geometric mean<br>%{{x:.4g}}: %{{y:.4g}}<extra></extra>")
        yield from (y for t in found if t.status == "completed" for _, y in curve(t))


def _add(figure: Figure, name: str, trials: Sequence[TrialResult], curve: Callable[[TrialResult], Points], line: dict[str, Any], size: int,
         **more: Any) -> None:
    lines = ((t.number, [x for x, _ in curve(t)], [y for _, y in curve(t)]) for t in trials)
    x, y = (figure.layout[axis]["title"]["text"] for axis in ("xaxis", "yaxis"))
    who = text_of(trials[0]) if len(trials) == 1 else f"{name}<br>trial %{{customdata}}"
    figure.add(
        name=name, mode="lines+markers" if len(trials) <= MOST_WITH_MARKS else "lines", line=line,
        marker={"size": size, "color": line["color"]}, **joined(lines),
        hovertemplate=f"{who}<br>{x} %{{x:.4g}}<br>{y} %{{y:.4g}}<extra></extra>", **more,
    )


def _whiskers(half: list[float]) -> dict[str, Any]:
    return {"type": "data", "array": half, "thickness": 1, "width": 2}
