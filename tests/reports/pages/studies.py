"""Studies as tracked, with everything that a report shows and all that users may write."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from PIL import Image

from reports.documents import flatten
from reports.results import EmaPoint, Sheet, StudyResults, TrialResult
from search_spaces.study import Study, make_study
from tests.conftest import tiny_fields

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> $x_1$ 'a' \"b\" & %"
LENGTHS = (0.03, 0.05, 0.08, 0.12)
LEVELS = (-6.0, -2.0, 2.0, 6.0)
_CODE, _MACHINE = {"commit": "c0ffee", "dirty": False}, {"system": "Linux", "cpu": "a CPU", "cpus": 2, "gpus": ["H100"]}
_DATA = {"kind": "digits", "hash": "abcdef0123456789", "images": 1797, "shape": [1, 8, 8], "classes": 10}


def a_search(**changes: Any) -> StudyResults:
    """Completed, stopped, failed and impossible trials, one of them with an infinite score."""
    study = make_study({
        "name": "a-search", "description": HOSTILE, "base": tiny_fields(weighting="min_snr"),
        "space": {"weighting.gamma": "auto", "optimiser.lr": {"low": 0.005, "high": 0.05, "log": True},
                  "schedule.kind": ["cosine", "laplace"]},
    })
    rng = np.random.default_rng(0)
    trials = []
    for number, status in enumerate(["completed"] * 12 + ["stopped"] * 3 + ["failed", "infeasible"]):
        values = {"weighting.gamma": float(rng.uniform(1, 20)), "optimiser.lr": float(rng.uniform(0.005, 0.05)),
                  "schedule.kind": ["cosine", "laplace"][number % 2]}
        trials.append(_trial(study, number, status, values, 10.0 + float(rng.uniform(0, 5)) + 1000 * (status == "stopped")))
    trials[11].best = math.inf
    trials[11].ema = [EmaPoint(s, math.inf, 1e-3, 0.1, images=512) for s in LENGTHS]
    importances = {"weighting.gamma": (0.7, 0.5, 0.8), "optimiser.lr": (0.3, 0.2, 0.5)}
    return _results(study, **{"trials": trials, "importances": importances, **changes})


def a_design(seeds: int = 3, **changes: Any) -> StudyResults:
    """Variants with hostile names, held-out losses and learned densities, scores at several times, on several seeds."""
    variants = {"base": {}, HOSTILE: {"weighting": "snr"}, "laplace": {"schedule": "laplace"}}
    study = make_study({
        "name": "a-design", "description": "what was asked", "base": tiny_fields(weighting="min_snr"),
        "design": {"variants": variants, "seeds": seeds, "baseline": "base"}, "sweep": {"times": [0.5, 1.0]},
    })
    level = {"base": 20.0, HOSTILE: 30.0, "laplace": 14.0}
    rng = np.random.default_rng(1)
    trials = []
    for number, planned in enumerate(study.design_trials):
        trial = _trial(study, number, "completed", planned.values, level[planned.variant] * math.exp(rng.normal(0, 0.03)))
        trial.densities = {256: [1.0] * 16, 512: [2.0 - i / 8 for i in range(16)]}
        trials.append(trial)
    return _results(study, **{"trials": trials, **changes})


def _results(study: Study, **changes: Any) -> StudyResults:
    fields = {"name": study.name, "study_id": "i", "description": study.description, "metric": "fd_probe", "axes": study.axes,
              "definition": study.model_dump(mode="json"), "commit": "c0ffee", "status": "FINISHED", "importances": {},
              "run_id": "r", "experiment_id": "7"}
    return StudyResults(**{**fields, **changes})


def _trial(study: Study, number: int, status: str, values: dict[str, Any], level: float) -> TrialResult:
    recipe = flatten(study.recipe(values).model_dump(mode="json"))
    done = status == "completed"
    ema = [
        EmaPoint(s, level * (1 + math.log(s / 0.07) ** 2) * (1.5 if images == 256 else 1.0), 1e-3, 0.2, images=images, solver="robust",
                 metrics={f"held_out_loss/log_snr_{x:.1f}": 0.5 + x / 20 + number / 100 for x in LEVELS})
        for images in (256, 512) for s in LENGTHS
    ] if done else []
    numbers = {"macs": 1e6, "parameters": 4e4, "floor_fd_probe": 4.0, "sweep_seconds": 2.0, "loss_by_level/log_snr_1.0": 0.4}
    optimum = {"metric": "fd_probe", "images": 512, "guidance_weight": 1.0, "sigma_rel": 0.07, "low": None, "high": None}
    trained = {"code": _CODE, "versions": {"torch": "9.9", "snrlab": "0.1"}, "machine": _MACHINE, "data": _DATA, "seed": 0}
    best = min((p for p in ema if p.images == 512), key=lambda p: p.distance, default=None)
    return TrialResult(
        number=number, variant=f"v{number}", seed=int(values.get("seed", 0)), status=status, values=values, recipe_key=f"key{number}",
        commit="c0ffee", reason=HOSTILE + "\nsecond line" if status in ("failed", "infeasible") else "", recipe=recipe, images=512,
        train_seconds=3.0, best=best.distance if best else None, sigma_rel=best.sigma_rel if best else None,
        curve=[(256, 3 * level), (512, 2 * level)] if status != "infeasible" else [], loss=[(256, 1.0), (512, math.nan)], ema=ema,
        solver="robust", samples=_png() if done else None,
        sheets=[Sheet("ema_lengths", [HOSTILE, "sigma_rel 0.08"], _png()), Sheet("nearest", ["generated", "real"])] if done else [],
        run_id=f"run{number}", ended=1e9,
        optima=[optimum] if done else [], metrics=numbers if done else {}, provenance=[trained] if done else [],
    )


def _png() -> bytes:
    out = io.BytesIO()
    Image.new("L", (8, 8), 128).save(out, "PNG")
    return out.getvalue()
