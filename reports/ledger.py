"""What a study cost: images, seconds, multiply-accumulates, by trial and in all."""

from __future__ import annotations

from typing import Any

from reports.results import StudyResults, TrialResult
from reports.step_groups import train_macs

_OF_THE_NETWORK = ("network.", "data.", "augment.", "conditional", "label_dropout")  # settings that its cost follows from
_SUMMED = ("images", "train_macs", "train_seconds", "gpu_seconds", "sweep_seconds")


def ledger_rows(results: StudyResults) -> list[dict[str, Any]]:
    """A row per trial that trained; costs that are not known are None."""
    swept = {_network(t): t.metrics["macs"] for t in results.trials if "macs" in t.metrics and not _in_stages(t)}

    def network(trial: TrialResult) -> float | None:
        """Of a trial that was not swept: what a network evaluation costs other trials with the same network."""
        return None if _in_stages(trial) else swept.get(_network(trial))

    return [
        {"trial": t.number, "status": t.status, "images": t.images, "train_macs": train_macs(t, network(t)),
         "train_seconds": t.train_seconds, "gpu_seconds": gpu_seconds_of(t, results), "sweep_seconds": t.metrics.get("sweep_seconds"),
         "origin": t.origin}
        for t in results.trials if t.images or t.metrics
    ]


def totals(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums of all rows, and of those whose training was not taken over from another trial; `unknown` of these have no known MACs."""
    own = [row for row in rows if not row["origin"]]
    return {"trials": len(rows), "own": len(own), "unknown": sum(row["train_macs"] is None for row in own),
            **{name: sum(row[name] or 0.0 for row in (rows if name == "sweep_seconds" else own)) for name in _SUMMED}}


def gpu_seconds_of(trial: TrialResult, results: StudyResults | None = None) -> float:
    """Of training; 0 on a CPU.  Of a trial that was not swept, by the GPUs that its study gives each trial."""
    compute = results.definition.get("compute", {}) if results else {}
    gpus = max(compute.get("workers", 1), 1) * compute.get("gpus_per_worker", 0.0)
    return float(trial.metrics.get("gpu_seconds", trial.train_seconds * gpus))


def macs_per_image(trial: TrialResult) -> float | None:
    """Of training on one image, forward and backward, on average over the stages; None where it is not known."""
    found = train_macs(trial)
    return found / trial.images if found and trial.images else None


def _network(trial: TrialResult) -> frozenset[tuple[str, str]]:
    return frozenset((path, value) for path, value in trial.recipe.items() if path.startswith(_OF_THE_NETWORK))


def _in_stages(trial: TrialResult) -> bool:
    return any(path.startswith(("experts.", "guide.")) for path in trial.recipe)
