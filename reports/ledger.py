"""What a study cost: images, seconds, multiply-accumulates, by trial and in all."""

from __future__ import annotations

from typing import Any

from reports.results import StudyResults, TrialResult
from reports.step_groups import train_macs


def ledger_rows(results: StudyResults) -> list[dict[str, Any]]:
    """A row per trial that trained; costs that are not known are None."""
    return [
        {"trial": t.number, "status": t.status, "images": t.images, "train_macs": train_macs(t), "train_seconds": t.train_seconds,
         "gpu_seconds": gpu_seconds_of(t), "sweep_seconds": t.metrics.get("sweep_seconds"), "origin": t.origin}
        for t in results.trials if t.images or t.metrics
    ]


def totals(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums of all rows, and of those whose training was not taken over from another trial."""
    own = [row for row in rows if not row["origin"]]
    columns = ("images", "train_macs", "train_seconds", "gpu_seconds", "sweep_seconds")
    return {"trials": len(rows), "own": len(own),
            **{name: sum(row[name] or 0.0 for row in (rows if name == "sweep_seconds" else own)) for name in columns}}


def gpu_seconds_of(trial: TrialResult) -> float:
    """Of training; 0 on a CPU."""
    return trial.metrics.get("gpu_seconds", 0.0)


def macs_per_image(trial: TrialResult) -> float | None:
    """Of training on one image, forward and backward, on average over the stages; None where it is not known."""
    found = train_macs(trial)
    return found / trial.images if found and trial.images else None
