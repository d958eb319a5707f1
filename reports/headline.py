"""What a study has found, in one sentence."""

from __future__ import annotations

from reports.results import StudyResults
from reports.variants import Ablation, ablation_of


def headline(results: StudyResults, ablation: Ablation | None = None) -> str:
    """Of a design its verdict, of a search its best trial; `ablation` may be given where it is known."""
    if results.warnings:
        return results.warnings[0]
    if found := ablation or ablation_of(results):
        return found.headline
    if not results.ranked:
        return "no trial has been completed yet"
    best = results.ranked[0]
    length = f" at sigma_rel {best.sigma_rel:g}" if best.sigma_rel else ""
    return f"best of {len(results.ranked)}: {best.label or 'the base'}, {results.metric} {best.best:.3f}{length}"
