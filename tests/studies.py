"""One small study that is really run: Ray, Optuna, MLflow on SQLite, real digits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import tiny_fields

SNRLAB = [sys.executable, "-c", "from orchestrator.cli.app import main; main()"]


def snrlab(*arguments: str, cwd: Path, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SNRLAB, *arguments], cwd=cwd, capture_output=True, text=True, timeout=timeout)


def small_study(**changes) -> dict:
    base = tiny_fields(weighting="min_snr", diagnostics_every=128, timesteps="loss_second_moment")
    fields = {
        "name": "small", "description": "a <b>small</b> study", "base": base,
        "space": {"weighting.gamma": "auto", "optimiser.lr": {"low": 0.005, "high": 0.05, "log": True}},
        "search": {"trials": 3, "sampler": {"kind": "tpe", "startup_trials": 2}},
        "sweep": {"sigma_rels": [0.05, 0.12]}, "compute": {"workers": 0},
    }
    return {**fields, **changes}
