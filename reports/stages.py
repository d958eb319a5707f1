"""A study with a chain in its parts: the search, the ablation around its winner, and what was confirmed on fresh seeds and latents."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from reports.results import StudyResults
from reports.variant_tables import candidate_rows, variant_rows
from reports.variants import Ablation, ablation_of

_TITLES = {
    "ablate": "Ablation around the winner of the search, on common seeds",
    "confirm": "Confirmed on seeds and latents that the search has not seen",
}


@dataclass(frozen=True)
class StageResult:
    """One stage; `ablation` is None where there was nothing to compare, for this reason."""

    name: str
    ablation: Ablation | None
    reason: str
    search_scores: Mapping[str, float]  # of variants that the search has scored, by name

    @property
    def title(self) -> str:
        return _TITLES[self.name]

    @property
    def headline(self) -> str:
        return self.ablation.headline if self.ablation else self.reason

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """As `variant_rows`, with the search's score beside the confirmed one."""
        if self.ablation is None:
            return []
        rows, metric = variant_rows(self.ablation), self.ablation.metric
        if self.name != "confirm":
            return rows
        for row in rows:
            row["search"] = self.search_scores.get(row["variant"])
            row["shrinkage"] = row[metric] / row["search"] - 1 if row["search"] and row[metric] else None
        return rows


def search_part(results: StudyResults) -> StudyResults:
    """The study without the trials of its chain."""
    if not results.stages:
        return results
    return replace(results, trials=results.searched, stages=[])


def stage_results(results: StudyResults) -> list[StageResult]:
    """Of each stage that has begun, in order."""
    scores, found = _search_scores(search_part(results)), []
    firsts = [stage["first"] for stage in results.stages] + [math.inf]
    for stage, end in zip(results.stages, firsts[1:], strict=True):
        ablation = None
        named: dict[str, float] = {}
        if stage["design"]:
            trials = [replace(t, number=t.number - stage["first"]) for t in results.trials if stage["first"] <= t.number < end]
            definition = {**results.definition, "design": stage["design"], "chain": None}
            ablation = ablation_of(replace(results, trials=trials, definition=definition, stages=[]))
            keys = {name: _key(values) for name, values in stage["design"]["variants"].items()}
            named = {name: scores[key] for name, key in keys.items() if key in scores}
        found.append(StageResult(stage["stage"], ablation, stage["reason"], named))
    return found


def rows_by_stage(results: StudyResults) -> list[dict[str, Any]]:
    """A row per variant of every stage, the search's own first; what a stage does not have is None."""
    search = search_part(results)
    rows = [{"stage": "search", **row} for row in candidate_rows(search)] or [
        {"stage": "search", "variant": t.label, results.metric: t.best, "sigma_rel": t.sigma_rel, "seeds": 1,
         "train_seconds": t.train_seconds}
        for t in search.ranked
    ]
    rows += [{"stage": stage.name, **row} for stage in stage_results(results) for row in stage.rows]
    columns = dict.fromkeys(key for row in rows for key in row)
    return [{column: row.get(column) for column in columns} for row in rows]


def _search_scores(search: StudyResults) -> dict[str, float]:
    """Scores of the search's ranked proposals, by their values."""
    return {_key(t.values): search.score(t, search.metric) for t in search.ranked}


def _key(values: Mapping[str, Any]) -> str:
    """What was searched, without seed and latents."""
    return json.dumps({p: v for p, v in values.items() if p not in ("seed", "evaluation.seed")}, sort_keys=True)


def stage_lines(results: StudyResults) -> list[str]:
    """The outcome of each stage in a few lines."""
    lines = []
    for stage in stage_results(results):
        lines.append(f"{stage.name + ':':<15}{stage.headline}")
        for row in stage.rows if stage.name == "confirm" and stage.ablation else ():
            if row["shrinkage"] is not None:
                lines.append(f"               {row['variant']}: search {row['search']:.3f}, confirmed {row[results.metric]:.3f} "
                             f"({row['shrinkage']:+.1%}, {row['seeds']} seeds)")
        lines += [f"note:          {note}" for note in (stage.ablation.notes if stage.ablation else [])]
    return lines
