"""The report page: one HTML file that needs nothing else, for a screen, a phone or paper."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from reports import figures
from reports.documents import short
from reports.factorial import effect_rows, factorial_effects
from reports.rank_correlation import rank_correlations
from reports.results import StudyResults, TrialResult
from reports.speed_up import speed_ups
from reports.stages import search_part, stage_results
from reports.step_group_figures import groups_on_the_axis
from reports.step_groups import shown_guides, shown_step_groups, variant_costs
from reports.tables import rows
from reports.variant_figures import forest
from reports.variant_tables import candidate_rows, variant_rows
from reports.variants import Ablation, ablation_of
from trainables.files import atomic


def write_page(results: StudyResults, path: Path) -> Path:
    """Render the report of a study to `path`, atomically."""
    atomic.write_text(path, render_page(results))
    return path


def render_page(results: StudyResults) -> str:
    environment = Environment(loader=PackageLoader("reports"), autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True)
    environment.filters["short"] = lambda value: "–" if value is None else short(value)
    environment.filters["change"] = lambda value: "–" if value is None else f"{value:+.1%}"
    environment.filters["count"] = lambda value: "–" if value is None else f"{value:,.0f}"
    whole, results = results, search_part(results)
    stages = [(stage, Markup(_html(f"stage-{stage.name}", forest(stage.ablation))) if stage.ablation else "")  # noqa: S704
              for stage in reversed(stage_results(whole))]
    ablation = ablation_of(results)
    charts = [
        ("ema", "Score against EMA length", "Each line is one trial; its lowest point is the trial's result. A best value at either end "
         f"of the range means that the range should be widened.{_classical(results)}", figures.ema_curves(results)),
        ("convergence", "Convergence", f"Interim scores use fewer images, and only the averages tracked in training: they rank trials for "
         f"early stopping, and are not comparable with the final {results.metric}. {_correlations(results)}", figures.convergence(results)),
    ]
    lengths = figures.optima(results)
    if lengths:
        text = ("Vertex of the local parabola in log sigma_rel with its 95 % interval from the scores' sampling error on common latents. "
                "Filled marks belong to the end of the training.")
        charts.insert(1, ("optima", "Best EMA length", text, lengths))
    for name, chart in figures.trade_offs(results):
        text = "Trials on the front are beaten by no other in everything." if name in dict(results.objectives) else ""
        text += " The dashed line is the most that a trial may have." if name in results.bounds else ""
        charts.insert(0, (f"trade-off-{name}", f"Score against {name}", text.strip(), chart))
    if results.importances and not ablation:
        few = ": a hint, not a finding" if len(results.ranked) < 30 else ""
        hint = f"From {len(results.ranked)} completed trials{few}; 95 % intervals by a bootstrap over trials."
        charts.append(("importance", "Which parameter mattered", hint, figures.importance(results)))
    density = figures.densities(results)
    if density:
        charts.append(("densities", "Noise levels in training", "Density over log SNR of the best and the worst completed trial.", density))
    step_groups = shown_step_groups(results, ablation)
    axis = Markup(_html("step-groups", groups_on_the_axis(step_groups))) if step_groups else ""  # noqa: S704
    # Charts are Plotly's own HTML, with what users wrote escaped in figures.py.
    return environment.get_template("report.html").render(
        results=results, stages=stages, rows=rows(whole), ranked=results.ranked, ablation=ablation,
        candidates=candidate_rows(results), speed_ups=speed_ups(ablation) if ablation else [],
        effects=_effects(ablation),
        variants=variant_rows(ablation) if ablation else [], forest=Markup(_html("forest", forest(ablation))) if ablation else "",  # noqa: S704
        charts=[(key, title, text, Markup(_html(key, chart))) for key, title, text, chart in charts],  # noqa: S704
        step_groups=step_groups, step_group_axis=axis, guides=shown_guides(results), costs=variant_costs(ablation),
        samples=_samples(results), plotly=Markup(get_plotlyjs()), warnings=list(_warnings(results)),  # noqa: S704
        provenance=_provenance(results),
        definition=yaml.safe_dump(results.definition, sort_keys=False, allow_unicode=True),
    )


def _effects(ablation: Ablation | None) -> list[dict[str, Any]]:
    """Of a factorial design's factors, as far as they can be told."""
    try:
        return effect_rows(factorial_effects(ablation)) if ablation else []
    except ValueError:
        return []


def _provenance(results: StudyResults) -> list[dict[str, Any]]:
    """What trained: an entry for all trials that share it."""
    shared: dict[str, dict[str, Any]] = {}
    for trial in results.trials:
        for entry in trial.provenance:
            fields = {key: value for key, value in entry.items() if key != "seed"}
            shared.setdefault(json.dumps(fields, sort_keys=True), {**fields, "trials": []})["trials"].append(trial.number)
    return list(shared.values())


def _correlations(results: StudyResults) -> str:
    """How well interim scores foretell the final order."""
    found = [f"{c.rho:.2f} after {c.images} images ({c.trials} trials)" for c in rank_correlations(results)]
    if not found:
        return "Their rank correlation with final scores needs three completed trials or more."
    return f"Spearman's rank correlation between interim and final scores of completed trials: {', '.join(found)}."


def _classical(results: StudyResults) -> str:
    if not any(trial.classical_marks for trial in results.trials):
        return ""
    return " Diamonds are the trial's classical averages (ema.classical), each at the sigma_rel of the power function of the same width."


def _html(key: str, chart: Any) -> str:
    config = {"responsive": True, "displaylogo": False}
    return str(chart.to_html(full_html=False, include_plotlyjs=False, div_id=f"chart-{key}", config=config))


def _samples(results: StudyResults) -> list[tuple[str, TrialResult, str]]:
    """(title, trial, image as a data address) of the best and the worst completed trial."""
    chosen = [("Best", t) for t in results.ranked[:1]] + [("Worst completed", t) for t in results.ranked[1:][-1:]]
    return [
        (title, trial, "data:image/png;base64," + base64.b64encode(trial.samples).decode())
        for title, trial in chosen if trial.samples
    ]


def _warnings(results: StudyResults) -> Any:
    """What a reader must know before believing a number."""
    for warning in results.warnings:
        yield warning[:1].upper() + warning[1:]
    if results.status == "RUNNING":
        yield "The study is still running: these are the results so far."
    if results.ranked:
        best = results.ranked[0]
        widths = [p.sigma_rel for p in best.ema_curve]
        if widths and best.sigma_rel in (widths[0], widths[-1]) and not results.definition.get("design"):
            yield (f"The best trial's optimum, sigma_rel {best.sigma_rel:g}, lies at the edge of the swept range "
                   f"({widths[0]:g} to {widths[-1]:g}): a wider range may find a better one.")
        seeds = {t.seed for t in results.ranked}
        if len(seeds) == 1 and not results.definition.get("design") and not results.candidates:
            yield (f"All trials share one training seed ({best.seed}) and each score was computed once: "
                   "differences smaller than the spread between seeds mean nothing.")
    if results.metric == "fd_probe":
        yield ("fd_probe is a Fréchet distance in the feature space of a small classifier trained on this data set. "
               "It ranks trials of one data set; it is not FID and is not comparable with it.")
    if results.ranked and (why := results.ranked[0].not_reproducible):
        yield f"The best trial cannot be reproduced from its commit alone: {why}."
    if results.infeasible:
        yield f"{len(results.infeasible)} trials have an impossible combination of values; nothing was trained, and they are not ranked."
    stopped = sum(t.status == "stopped" for t in results.trials)
    if stopped:
        yield f"{stopped} trials were stopped early; their scores belong to fewer training images and are not ranked."
