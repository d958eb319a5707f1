"""A design's variants as plain rows: for tables on the page, `snrlab results --by variant`, and files."""

from __future__ import annotations

import math
from typing import Any

from reports.statistics.verdicts import Verdict
from reports.variants import Ablation, Variant


def variant_rows(ablation: Ablation) -> list[dict[str, Any]]:
    """A row per variant: geometric mean, spread, difference with its simultaneous 95 % interval, verdict, seeds, compute."""
    verdicts = {v.comparison.variant: v for v in ablation.verdicts} if ablation.design.family != "pairs" else {}
    return [_row(variant, verdicts.get(variant.name), ablation) for variant in ablation.variants]


def _row(variant: Variant, verdict: Verdict | None, ablation: Ablation) -> dict[str, Any]:
    logs = [math.log(score) for score in variant.scores.values()]
    spread = math.sqrt(sum((x - sum(logs) / len(logs)) ** 2 for x in logs) / (len(logs) - 1)) if len(logs) > 1 else None
    c = verdict.comparison if verdict else None
    return {
        "variant": variant.name, ablation.metric: variant.mean, "log_sd": spread,
        "against": c.against if c else None, "change": math.expm1(c.difference) if c else None,
        "low": math.expm1(c.low) if c else None, "high": math.expm1(c.high) if c else None, "p": c.p if c else None,
        "verdict": verdict.word if verdict else ("baseline" if variant.name == ablation.design.baseline_name else None),
        "sigma_rel": variant.sigma_rel, "seeds": len(variant.scores), "failed": len(variant.failed), "train_seconds": variant.train_seconds,
    }


def comparison_rows(ablation: Ablation) -> list[dict[str, Any]]:
    """A row per comparison."""
    return [
        {"variant": c.variant, "against": c.against,
         "change": math.expm1(c.difference), "low": math.expm1(c.low), "high": math.expm1(c.high), "p": c.p,
          "verdict": v.word, "seeds": c.seeds, "seeds_needed": v.seeds_needed, "sentence": v.sentence}
        for v in ablation.verdicts for c in [v.comparison]
    ]
