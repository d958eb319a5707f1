"""Variants as plain rows: for tables on the page, `snrlab results --by variant`, and files."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from reports.results import StudyResults
from reports.statistics.verdicts import Verdict
from reports.variants import Ablation, Variant


def variant_rows(ablation: Ablation) -> list[dict[str, Any]]:
    """A row per variant: geometric mean, spread, difference with its simultaneous 95 % interval, verdict, seeds, compute."""
    verdicts = {v.comparison.variant: v for v in ablation.verdicts} if ablation.design.family != "pairs" else {}
    return [_row(variant, verdicts.get(variant.name), ablation) for variant in ablation.variants]


def _row(variant: Variant, verdict: Verdict | None, ablation: Ablation) -> dict[str, Any]:
    spread = _log_spread(list(variant.scores.values()))
    c = verdict.comparison if verdict else None
    return {
        "variant": variant.name, ablation.metric: variant.mean, "log_sd": spread,
        "against": c.against if c else None, "change": math.expm1(c.difference) if c else None,
        "low": math.expm1(c.low) if c else None, "high": math.expm1(c.high) if c else None, "p": c.p if c else None,
        "verdict": verdict.word if verdict else ("baseline" if variant.name == ablation.design.baseline_name else None),
        "sigma_rel": variant.sigma_rel, "seeds": len(variant.scores), "failed": len(variant.failed), "train_seconds": variant.train_seconds,
    }


def candidate_rows(results: StudyResults) -> list[dict[str, Any]]:
    """A row per proposal of a search with several seeds: mean as the sampler was told it, spread, seeds, compute."""
    rows = []
    for candidate in results.candidates:
        scores = [t.best for t in candidate.trials if t.best is not None and t.best > 0 and t.status == "completed"]
        mean = candidate.mean(results.metric, results.metric)
        rows.append({
            "variant": candidate.label, "status": candidate.status, results.metric: mean if scores else None, "log_sd": _log_spread(scores),
            "low": min(scores, default=None), "high": max(scores, default=None), "seeds": len(scores),
            "trials": ", ".join(str(t.number) for t in candidate.trials), "train_seconds": sum(t.train_seconds for t in candidate.trials),
        })
    return rows


def comparison_rows(ablation: Ablation) -> list[dict[str, Any]]:
    """A row per comparison."""
    return [
        {"variant": c.variant, "against": c.against,
         "change": math.expm1(c.difference), "low": math.expm1(c.low), "high": math.expm1(c.high), "p": c.p,
          "verdict": v.word, "seeds": c.seeds, "seeds_needed": v.seeds_needed, "sentence": v.sentence}
        for v in ablation.verdicts for c in [v.comparison]
    ]


def _log_spread(scores: Sequence[float]) -> float | None:
    """Standard deviation of the log scores; None below two."""
    return statistics.stdev(map(math.log, scores)) if len(scores) > 1 else None
