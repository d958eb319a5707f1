"""A trial's folder as one document: all that reports need to know of the trial, and what its run in MLflow is to hold."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.records import provenance
from orchestrator.records.folders import SweepRecord, TrialFolder, TrialRecord
from search_spaces.study import Study
from trainables.recipe import Recipe
from trainables.training import metrics_log

_AXES = ("images", "time")  # columns of the metrics log


@dataclass(frozen=True)
class TrialContent:
    """What a trial's folder says at one moment."""

    record: TrialRecord
    recipe: Recipe | None  # none of an impossible combination of values
    rows: list[dict[str, Any]]
    sweep: SweepRecord | None
    further: dict[str, SweepRecord]
    trained_by: list[dict[str, Any]]

    @property
    def ended(self) -> bool:
        """Whether nothing more will come by itself: failed, impossible, or trained and swept."""
        return self.record.training in ("failed", "infeasible") or (self.record.training != "running" and self.sweep is not None)

    @property
    def status(self) -> str:
        if self.sweep and self.sweep.error:
            return "failed"  # until a later run has swept it
        return self.record.training if self.ended else "running"

    @property
    def reason(self) -> str:
        return self.record.reason or (self.sweep.error if self.sweep else "")

    @property
    def sweeps(self) -> list[SweepRecord]:
        """The trial's own first."""
        return [*([self.sweep] if self.sweep else []), *self.further.values()]

    @property
    def score(self) -> dict[str, float]:
        """Score and cost at the trial's own best EMA length; empty where it has none."""
        sweep = self.sweep
        if sweep is None or not sweep.best:
            return {}
        best, optimum = sweep.best, sweep.optimum or {}
        values = {
            **best["metrics"], **sweep.cost, "sigma_rel": best["sigma_rel"], "sweep_seconds": sweep.seconds,
            "sweep_evaluations": sweep.evaluations, "standard_error": best["standard_error"], f"floor_{sweep.metric}": sweep.floor,
            "sigma_rel_optimum": optimum.get("sigma_rel"), "sigma_rel_low": optimum.get("low"), "sigma_rel_high": optimum.get("high"),
            **{f"repeats_{key}": value for key, value in best.get("repeats", {}).items()},
        }
        return {key: float(value) for key, value in values.items() if value is not None}

    @property
    def key_numbers(self) -> dict[str, float]:
        """Finite numbers of the score that nothing but the sweep reports, so that they are a run's last values."""
        rows = self.rows[-1] if self.rows else {}
        return {key: value for key, value in self.score.items() if key not in rows and math.isfinite(value)}

    @property
    def best_slice(self) -> list[dict[str, Any]]:
        """The points that differ from the best one in their EMA length alone."""
        best = self.sweep.best if self.sweep else None
        if self.sweep is None or best is None:
            return []
        same = ("images", "guidance_weight", "guide_sigma_rel")
        return [point for point in self.sweep.points if all(point[key] == best[key] for key in same)]

    def document(self, study_id: str) -> dict[str, Any]:
        """As plain data; numbers, curves, sweeps, provenance (without the changes of the code, which are a file of their own)."""
        record = self.record
        return {
            "study_id": study_id, "number": record.number, "variant": record.variant_key[:12], "recipe_key": record.recipe_key,
            "values": record.values, "recipe": self.recipe.model_dump(mode="json") if self.recipe else {},
            "status": self.status, "reason": self.reason, "started": record.started, "ended": record.ended, "reused": record.reused,
            "curves": self._curves(), "metrics": {**measured(self.rows[-1] if self.rows else {}), **self.score},
            "sweep": asdict(self.sweep) if self.sweep else None, "further_sweeps": [asdict(s) for s in self.further.values()],
            "provenance": [{**entry, "code": _without_changes(entry["code"])} for entry in self.trained_by],
        }

    def _curves(self) -> dict[str, list[list[float]]]:
        """[images, value] of loss, interim scores, and the density that an adaptive policy has learned."""
        names = dict.fromkeys(name for row in self.rows for name in row if name == "loss" or name.startswith(("interim_", "density/")))
        return {name: [[row["images"], row[name]] for row in self.rows if row.get(name) is not None] for name in names}


def read_trial(folder: TrialFolder, study: Study) -> TrialContent:
    """Everything in the folder; UserError where a record is damaged, or lacks what was trained."""
    record, sweep = folder.record, folder.sweep
    recipe = study.recipe(record.values) if record.training != "infeasible" else None
    if sweep and sweep.points:
        metrics_log.check_rows(folder.root, max(point["images"] for point in sweep.points))
    return TrialContent(record, recipe, metrics_log.read(folder.root), sweep, folder.further_sweeps, provenance.read(folder.root))


def _without_changes(code: dict[str, Any]) -> dict[str, Any]:
    """Their hash tells two sets of changes apart."""
    changes = {"changes": hashlib.sha256(code["diff"].encode()).hexdigest()} if code["dirty"] else {}
    return {"commit": code["commit"], "dirty": code["dirty"], **changes}


def measured(row: dict[str, Any]) -> dict[str, float]:
    """The metrics of a row of the log: its numbers, but for the axes."""
    return {key: float(value) for key, value in row.items() if key not in _AXES and isinstance(value, (int, float))}
