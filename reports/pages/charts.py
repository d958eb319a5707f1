"""The charts of a study's page, in sections, each with a caption that says what is drawn and how to read it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from markupsafe import Markup

from reports.figures import convergence, ema, gradients, noise_levels, search
from reports.figures.figure import Figure
from reports.partial_dependence import FEWEST
from reports.rank_correlation import rank_correlations
from reports.results import StudyResults
from reports.variants import Ablation

_TOLD = 4  # rank correlations in words; the others are in their chart
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@dataclass(frozen=True)
class Chart:
    """A figure with its name in addresses and files."""

    key: str
    title: str
    text: str
    figure: Figure
    files: bool = True  # whether its data and an SVG of it lie in the report's folder

    @cached_property
    def json(self) -> Markup:
        """For a script element: nothing in it ends the element."""
        text = json.dumps(_rounded({"data": self.figure.data, "layout": self.figure.layout}), separators=(",", ":"), ensure_ascii=False)
        return Markup(re.sub("[<>&\u2028\u2029]", lambda found: _ESCAPES[found[0]], text))  # noqa: S704


@dataclass(frozen=True)
class Section:
    """Charts that belong together; wide ones have the page's width."""

    key: str
    title: str
    text: str
    charts: list[Chart]
    wide: bool = False


def sections(results: StudyResults, ablation: Ablation | None) -> list[Section]:
    """Those that there is something to show of."""
    made = [_trade_offs(results), _lengths(results, ablation), _course(results, ablation), _levels(results, ablation),
            *([] if ablation else _searched(results))]
    return [section for section in made if section.charts]


def _trade_offs(results: StudyResults) -> Section:
    charts = []
    for name, figure in search.trade_offs(results):
        text = "Trials on the front are beaten by no other in everything." if name in dict(results.objectives) else ""
        text += " The dashed line is the most that a trial may have." if name in results.bounds else ""
        charts.append(Chart(f"trade-off-{slug(name)}", f"Score against {name}", text.strip(), figure))
    return Section("trade-offs", "Trade-offs", "", charts)


def _lengths(results: StudyResults, ablation: Ablation | None) -> Section:
    who = ("A colour per variant: thin lines are seeds, thick ones geometric means" if ablation
           else "The best trials have lines of their own, with 95 % of sampling error")
    classical = ""
    if any(trial.classical_marks for trial in results.trials):
        classical = (" Diamonds are the trial's classical averages (ema.classical), each at the sigma_rel of the power function of the "
                     "same width.")
    floor = f" Real images score {results.floor:.4g}: the dotted line, where it is near." if results.floor else ""
    charts = [
        Chart("ema", "Score against EMA length", f"{who}; a line's lowest point is the trial's result.{floor}{classical}",
              ema.ema_curves(results, ablation)),
        Chart("ema-relative", "Relative to each trial's best", "Every curve comes down to 1: what another length would have cost."
              f"{' A dotted line is the floor over the best score of all, where it is near.' if results.floor else ''}",
              ema.relative_ema_curves(results, ablation)),
    ]
    charts = [chart for chart in charts if chart.figure.data]
    if lengths := ema.optima(results, ablation):
        charts.append(Chart("optima", "Best EMA length", "Vertex of the local parabola in log sigma_rel with its 95 % interval from the "
                            "scores' sampling error on common latents. Filled marks belong to the end of the training.", lengths))
    text = "A best value at either end of the range means that the range should be widened."
    return Section("ema", "EMA length", text, charts)


def _course(results: StudyResults, ablation: Ablation | None) -> Section:
    """Scores at stored times where the sweep had several, and interim scores."""
    charts = []
    for by, title in convergence.TITLES.items():
        if ablation and (figure := convergence.stored_times(ablation, by)):
            text = "At stored times, each variant at its own best EMA length then; geometric means over seeds."
            charts.append(Chart(f"stored-times-{by}", f"Scores over {title}", text, figure))
    if ablation and (curves := convergence.speed_up_curves(ablation)):
        text = (f"How many times fewer images a variant needs for the score that {ablation.design.baseline_name} has after so many, each "
                "at its own best EMA length; geometric means over seeds, on straight lines between stored times in logarithms. A line ends "
                "where the variant never gets there.")
        charts.append(Chart("speed-up", "Speed-up over training", text, curves))
    for by, title in convergence.TITLES.items():
        figure = convergence.convergence(results, ablation, by)
        if figure.data:
            charts.append(Chart("convergence" if by == "images" else f"convergence-{by}", f"Interim scores over {title}",
                                "" if by == "images" else "Each trial's own cost of an image.", figure))
    if rank := convergence.rank_correlation(results):
        text = "Over completed trials; 1 is the same order, 0 no relation."
        charts.append(Chart("rank-correlation", "Do interim scores rank trials as final ones do?", text, rank))
    for chart in charts:
        if not chart.key.endswith("images") and chart.key != "convergence":
            chart.figure.layout["showlegend"] = False  # it is that of the chart before
    text = (f"Interim scores use fewer images, and only the averages tracked in training: they rank trials for early stopping, and are not "
            f"comparable with the final {results.metric}. {_correlations(results)}")
    return Section("convergence", "Convergence", text, charts)


def _levels(results: StudyResults, ablation: Ablation | None) -> Section:
    whose = "every variant" if ablation else "the best trials and the worst one"
    found = [
        ("densities", "Density of training noise levels", f"p(λ) of {whose}, by the very functions that training draws with; "
         "of policies whose density has no closed form, the schedule's.",
         noise_levels.densities(results, ablation)),
        ("weights", "Weight on the loss", "w(λ) on the loss of unit scale, (SNR + 1)|D − y|² per value, with the draws' corrections; "
         "scaled so that p(λ) w(λ) has the integral 1 over the levels shown.",
         noise_levels.weights(results, ablation)),
        ("products", "Their product", "p(λ) w(λ), integral 1: what counts in training, at each noise level shown.",
         noise_levels.products(results, ablation)),
        ("held-out", "Unweighted held-out loss by noise level", "Change against the baseline (of a search: against its best trial), each "
         "at its best EMA length; geometric means over seeds. Below zero is better.", noise_levels.held_out_losses(results, ablation)),
    ]
    charts = [Chart(key, title, text, figure) for key, title, text, figure in found if figure]
    for key, title, figure in (("gradient-cosines", "Do neighbouring noise levels pull together?", gradients.cosines(results, ablation)),
                               ("gradient-norms", "Gradient by noise level", gradients.norms(results, ablation))):
        if figure:
            text = "Of the training loss, by bucket of log SNR, at the last look that diagnostics_every had; means over seeds."
            charts.append(Chart(key, title, text, figure))
    text = "Density that the adaptive policy has learned, over the schedule's own, over the training."
    charts += [Chart(f"learned-{place}", f"What {name} draws", text, figure)
               for place, (name, figure) in enumerate(noise_levels.learned_densities(results, ablation))]
    return Section("noise-levels", "Noise levels in training", "", charts)


def _searched(results: StudyResults) -> Iterator[Section]:
    charts = []
    if figure := search.history(results):
        charts.append(Chart("history", "Search history", "Scores in the order of the proposals; crosses were stopped early, at their last "
                            "interim score.", figure))
    if results.importances:
        few = ": a hint, not a finding" if len(results.ranked) < 30 else ""
        hint = f"From {len(results.ranked)} completed trials{few}; 95 % intervals by a bootstrap over trials."
        charts.append(Chart("importance", "Which parameter mattered", hint, search.importance(results)))
    yield Section("search", "Search", "", charts)
    if figure := search.parallel_coordinates(results):
        text = "A line per completed trial; each parameter on its own scale, from the low end of its range to the high one."
        yield Section("parallel", "Parallel coordinates", "", [Chart("parallel", "All parameters at once", text, figure)], wide=True)
    charts = [Chart(f"slice-{slug(path)}", path, "", figure) for path, figure in search.slices(results) if any(t["x"] for t in figure.data)]
    text = "Scores of completed trials over one parameter, whatever the others were; the star is the best trial."
    if len(results.searched) >= FEWEST:
        text += (" The blue line or diamonds are the partial dependence: the geometric mean that a random forest expects at a value over "
                 "the other parameters as they were tried, with the range of 95 % of its trees. Values that were hardly tried are guesses.")
    yield Section("slices", "A slice per parameter", text, charts)


def _correlations(results: StudyResults) -> str:
    """How well interim scores foretell the final order."""
    known = rank_correlations(results)
    told = known if len(known) <= _TOLD else [known[round(i * (len(known) - 1) / (_TOLD - 1))] for i in range(_TOLD)]
    found = [f"{c.rho:.2f} after {c.images} images ({c.trials} trials)" for c in told]
    if not found:
        return "Their rank correlation with final scores needs three completed trials or more."
    return f"Spearman's rank correlation between interim and final scores of completed trials: {', '.join(found)}."


def slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[:80]


def _rounded(value: Any) -> Any:
    """Six digits are more than a screen shows; JSON has no infinity."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value
