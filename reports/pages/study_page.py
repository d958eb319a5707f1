"""A study's page: what was asked, the verdict, the variants, then everything behind them."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from reports.factorial import effect_rows, factorial_effects
from reports.figures.step_groups import groups_on_the_axis
from reports.figures.variants import forest
from reports.ledger import ledger_rows, totals
from reports.methods_text import methods_text
from reports.pages.charts import Chart, Section, sections
from reports.pages.site import Site, environment, sheet_file, trial_page
from reports.references import bibtex, citations
from reports.results import StudyResults, TrialResult, recipe_of
from reports.speed_up import speed_ups
from reports.stages import StageResult, search_part, stage_results
from reports.step_groups import StepGroups, shown_guides, shown_step_groups, variant_costs
from reports.tables import rows
from reports.variant_tables import candidate_rows, variant_rows
from reports.variants import Ablation, ablation_of
from trainables.files import atomic

MOST_ROWS = 1000  # of the tables of trials; the others are in their files


def write_page(results: StudyResults, path: Path) -> Path:
    """The page as one file that needs nothing else, atomically."""
    atomic.write_text(path, render_page(results))
    return path


def render_page(results: StudyResults) -> str:
    """As one file, to mail."""
    return StudyPage(results).render(Site(single=True))


class StudyPage:
    """What a study's page shows."""

    def __init__(self, results: StudyResults) -> None:
        self.whole, self.results = results, search_part(results)
        self.ablation = ablation_of(self.results)
        self.stages: list[tuple[StageResult, Chart | None]] = [
            (stage, Chart(f"stage-{stage.name}", "Changes with their intervals", "", forest(stage.ablation)) if stage.ablation else None)
            for stage in reversed(stage_results(results))
        ]
        self.forest = Chart("forest", "Changes against the baseline" if self._against_baseline else "Changes", _how_to_read(self.ablation),
                            forest(self.ablation)) if self.ablation and self.ablation.verdicts else None
        self.sections: list[Section] = sections(self.results, self.ablation)
        self.step_groups: list[tuple[str, TrialResult, StepGroups]] = shown_step_groups(self.results, self.ablation)
        self.step_group_chart = (Chart("step-groups", "Groups of noise levels", "", groups_on_the_axis(self.step_groups))
                                 if self.step_groups else None)

    @property
    def charts(self) -> list[Chart]:
        """All of them, with addresses that differ."""
        loose = [self.forest, self.step_group_chart, *(chart for _, chart in self.stages)]
        return [*(chart for chart in loose if chart), *(chart for section in self.sections for chart in section.charts)]

    def render(self, site: Site, samples: Mapping[int, str] | None = None) -> str:
        """`samples` are addresses of the trials' pictures, by number (default: within the page)."""
        results, whole, ablation = self.results, self.whole, self.ablation
        shown, ledger = rows(whole), ledger_rows(whole)
        return environment().get_template("study.html").render(
            site=site, root="", running=whole.status == "RUNNING", charts_here=bool(self.charts), results=results, whole=whole,
            stages=self.stages, rows=_best_first(shown, results), more_rows=max(0, len(shown) - MOST_ROWS), ranked=results.ranked,
            ablation=ablation, candidates=candidate_rows(results), speed_ups=speed_ups(ablation) if ablation else [],
            effects=_effects(ablation), variants=variant_rows(ablation) if ablation else [], forest=self.forest, sections=self.sections,
            step_groups=self.step_groups, step_group_chart=self.step_group_chart, guides=shown_guides(results),
            costs=variant_costs(ablation), samples=self._samples(samples), warnings=list(_warnings(results)),
            provenance=_provenance(results), trial_page=trial_page,
            sheet_file=None if samples is None else sheet_file,
            definition=yaml.safe_dump(results.definition, sort_keys=False, allow_unicode=True),
            ledger=ledger[:MOST_ROWS], totals=totals(ledger), methods=methods_text(results, ablation),
            bibtex=bibtex(self.citations), last=last_result(whole),
            not_reproducible=_not_reproducible(results), remarks=list(_remarks(results)),
        )

    @property
    def pictured(self) -> list[tuple[str, TrialResult]]:
        """(title, trial) of those whose pictures stand side by side."""
        if self.ablation:
            return [(v.name, t) for v in self.ablation.variants for t in [t for t in v.trials if t.samples][:1]]
        ranked = [t for t in self.results.ranked if t.samples]
        worst = self.results.ranked[-1:]
        return [("Worst completed" if i and t in worst else "Best" if not i else f"Number {i + 1}", t) for i, t in enumerate(ranked)]

    def _samples(self, addresses: Mapping[int, str] | None) -> list[tuple[str, TrialResult, str]]:
        if addresses is not None:
            return [(title, trial, addresses[trial.number]) for title, trial in self.pictured]
        return [(title, trial, _data_address(trial.samples or b"")) for title, trial in self.pictured]

    @property
    def citations(self) -> list[str]:
        """Of the methods of all trials; those with the same methods, whatever their values, cite the same papers."""
        done = [t for t in self.results.trials if t.status == "completed"]
        by_methods = {tuple(item for item in t.recipe.items() if item[0].endswith("kind")): t for t in done}
        return citations([found for t in by_methods.values() if (found := recipe_of(t))]) if done else []

    @property
    def _against_baseline(self) -> bool:
        return bool(self.ablation and self.ablation.design.family == "baseline")


def _data_address(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _how_to_read(ablation: Ablation | None) -> str:
    if ablation is None or ablation.comparisons is None:
        return ""
    return ("Diamonds are changes of the score with simultaneous 95 % intervals, open ones where it cannot be told yet; dots are the "
            f"seeds' own paired differences. Method: {ablation.comparisons.method}. Within the shaded band, "
            f"{100 * ablation.design.smallest_effect:g} %, a difference does not matter here.")


def _best_first(found: list[dict[str, Any]], results: StudyResults) -> list[dict[str, Any]]:
    """As they were proposed; of more than fit, the best ones."""
    if len(found) <= MOST_ROWS:
        return found
    place = {trial.number: i for i, trial in enumerate(results.ranked)}
    return sorted(found, key=lambda row: place.get(row["trial"], len(place) + row["trial"]))[:MOST_ROWS]


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


def _remarks(results: StudyResults) -> Iterator[str]:
    """What to know of single trials: why they failed, and where their training comes from."""
    for trial in results.trials:
        if trial.reason:
            yield f"Trial {trial.number} {trial.status}: {trial.reason.splitlines()[0]}"
    for trial in results.trials:
        if trial.origin:
            yield f"Trial {trial.number} was {trial.origin}."


def _not_reproducible(results: StudyResults) -> dict[str, list[int]]:
    """Numbers of completed trials by the reason why their commit alone does not give their result."""
    found: dict[str, list[int]] = {}
    for trial in results.trials:
        if trial.status == "completed" and trial.not_reproducible:
            found.setdefault(trial.not_reproducible, []).append(trial.number)
    return found


def last_result(results: StudyResults) -> str:
    """Time at which the last trial ended; empty before."""
    last = max((t.ended for t in results.trials), default=0.0)
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(last)) if last else ""


def _warnings(results: StudyResults) -> Iterator[str]:
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
