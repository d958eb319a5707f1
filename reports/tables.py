"""Results as rows, for people and for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import Any

from reports.documents import short
from reports.factorial import effect_rows, factorial_effects
from reports.results import StudyResults
from reports.speed_up import speed_ups
from reports.stages import rows_by_stage, search_part, stage_lines
from reports.variant_tables import candidate_rows, comparison_rows, variant_rows
from reports.variants import Ablation, ablation_of
from trainables.errors import ConfigError

Rows = list[dict[str, Any]]

def rows(results: StudyResults) -> Rows:
    """A row per trial, every searched parameter a column (None where it was not searched)."""
    return [
        {
            "trial": t.number, **({"stage": results.stage_of(t)} if results.stages else {}), "variant": t.variant,
            "seed": t.seed, "status": t.status,
            **{axis: t.values.get(axis) for axis in results.axes},
            results.metric: t.best, **{name: t.metrics.get(name) for name in results.further_metrics},
            **({"within_bounds": results.within_bounds(t) if t.metrics else None} if results.bounds else {}),
            "sigma_rel": t.sigma_rel, "images": t.images,
            "train_seconds": t.train_seconds, "recipe_key": t.recipe_key,
        }
        for t in results.trials
    ]


def score_rows(results: StudyResults) -> Rows:
    """A row per score of every sweep."""
    return [
        {"trial": trial.number, "images": point.images, "sigma_rel": point.sigma_rel, "guidance_weight": point.guidance_weight,
         results.metric: point.distance, "standard_error": point.standard_error}
        for trial in results.trials for point in trial.ema
    ]


def curve_rows(results: StudyResults) -> Rows:
    """A row per report in training, whatever its score was."""
    found = []
    for trial in results.trials:
        losses = dict(trial.loss)
        found += [{"trial": trial.number, "images": images, f"interim_{results.metric}": score, "loss": losses.get(images)}
                  for images, score in trial.curve]
    return found


BY = ("trial", "variant", "comparison", "speed-up", "effect")  # what a row may stand for


def render(results: StudyResults, format_: str, by: str = "trial") -> bytes:
    """The rows as table, json, csv or parquet; `by` is one of `BY`, and all but trials are of a design."""
    if by == "trial":
        found = _with_origins(results) if format_ == "json" else rows(results)
        return FORMATS[format_](found, ("recipe_key", "variant"))
    if results.stages and by == "variant":
        return FORMATS[format_](rows_by_stage(results), ())
    ablation = ablation_of(results)
    if ablation is None and results.candidates and by == "variant":
        return FORMATS[format_](candidate_rows(results), ())
    if ablation is None:
        raise ConfigError(f"--by {by}: study {results.name} has no design, and so no {by}s; leave --by out")
    return FORMATS[format_](_rows_of(ablation, by, f"--by {by}: study {results.name}"), ("sentence",))


def render_comparison(ablation: Ablation, format_: str, by: str = "variant") -> bytes:
    """A row per variant or per comparison of an outcome; as a table with the verdict before it and its notes after it."""
    content = FORMATS[format_](_rows_of(ablation, by, f"--by {by}"), ("sentence",))
    if format_ != "table":
        return content
    notes = [f"note: {note}" for note in ablation.notes]
    return "\n".join([ablation.headline, "", content.decode().rstrip("\n"), *([""] if notes else []), *notes, ""]).encode()


def _rows_of(ablation: Ablation, by: str, where: str) -> Rows:
    """ConfigError, beginning with `where`, where an outcome has no such rows."""
    match by:
        case "variant":
            return variant_rows(ablation)
        case "comparison":
            return comparison_rows(ablation)
        case "speed-up":
            found = [speed_up.row for speed_up in speed_ups(ablation)]
            needs = "a baseline, and scores at several times (sweep: {times: [0.5, 1]})"
        case _:
            try:
                found, needs = effect_rows(factorial_effects(ablation)), "a factorial design (design: {factors: ...})"
            except ValueError as error:
                raise ConfigError(f"{where}: {error}") from None
    if not found:
        raise ConfigError(f"{where}: needs {needs}")
    return found


def summary_lines(results: StudyResults) -> list[str]:
    """The outcome of a study in a few lines."""
    counts = {status: sum(t.status == status for t in results.trials) for status in ("completed", "stopped", "failed", "infeasible")}
    lines = [f"study {results.name}: " + ", ".join(f"{n} {status}" for status, n in counts.items() if n)]
    if results.warnings:
        return [*lines, *(f"warning: {warning}" for warning in results.warnings)]
    if results.stages:
        return [*lines, *summary_lines(search_part(results))[1:], *stage_lines(results)]
    if ablation := ablation_of(results):
        lines += [f"verdict:       {ablation.headline}", *([f"published:     {results.published}"] if results.published else [])]
        return [*lines, *(f"note:          {note}" for note in ablation.notes)]
    if results.candidates and results.ranked:
        lead = results.candidates[0]
        scores = [t.best for t in lead.trials if t.best is not None]
        lines.append(f"best variant:  {lead.label} (trials {', '.join(str(t.number) for t in lead.trials)})")
        lines.append(f"               {results.metric} {results.score(lead.trials[0], results.metric):.3f}, mean of {len(scores)} seeds "
                     f"({min(scores):.3f} to {max(scores):.3f}); the best of {len(results.ranked)}, and so a little too good")
    elif results.ranked:
        best = results.ranked[0]
        lines.append(f"best variant:  trial {best.number} ({best.label})")
        lines.append(f"               {results.metric} {best.best:.3f} at sigma_rel {best.sigma_rel:g}")
    elif results.bounds and any(t.best is not None for t in results.trials):
        lines.append("best variant:  none: no completed trial is within " + ", ".join(f"{k} <= {v:g}" for k, v in results.bounds.items()))
    if len(results.objectives) > 1 and results.front:
        lines.append(f"Pareto front:  trials {', '.join(str(t.number) for t in results.front)}")
    return lines


def _table(found: Rows, hidden: Collection[str]) -> bytes:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns = [c for c in (found[0] if found else {}) if c not in hidden]
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(Text(column), justify="left" if column in ("status", "variant", "against", "verdict") else "right")
    for row in found:
        table.add_row(*(Text("–" if row[c] is None else short(row[c])) for c in columns))
    out = io.StringIO()
    Console(file=out, width=max(100, 14 * len(columns))).print(table)
    return out.getvalue().encode()


def _with_origins(results: StudyResults) -> Rows:
    """The rows of trials, each with how far its result can be reproduced, by what it was trained, and scores of classical averages."""
    return [
        {**row, "reused": trial.reused, "cannot_be_reproduced_from_commit": trial.not_reproducible, "provenance": trial.provenance,
         "classical": [asdict(point) for point in trial.classical]}
        for row, trial in zip(rows(results), results.trials, strict=True)
    ]


def _json(found: Rows, _: Collection[str]) -> bytes:
    return (json.dumps(found, indent=1) + "\n").encode()


def _csv(found: Rows, _: Collection[str]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(found[0]) if found else ["trial"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return out.getvalue().encode()


def _parquet(found: Rows, _: Collection[str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(found), out)
    return out.getvalue()


FORMATS: dict[str, Callable[[Rows, Collection[str]], bytes]] = {"table": _table, "json": _json, "csv": _csv, "parquet": _parquet}
