"""The numbers of a few short trainings, and what they were when they were stored.

    python -m tests.trainables.training.trace    stores them anew, after a change of numbers that is wanted
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from tests.conftest import GOLDEN, tiny_fields
from trainables.data.digits import Digits
from trainables.ema.snapshots import list_snapshots
from trainables.metrics import probe
from trainables.recipe import make_recipe
from trainables.stage_key import NUMERICS
from trainables.training import metrics_log
from trainables.training.loop import train

STORED = GOLDEN / "training.json"
# With this eps, gradients near zero, whose sign is rounding on some CPU, make no step of full length.
ADAM = {"lr": 0.02, "eps": 1e-3}
RECIPES: dict[str, dict[str, Any]] = {
    "edm2": {"timesteps": "stratified", "label_dropout": 0.1},
    "dit": {"network": {"kind": "dit", "width": 32, "depth": 2, "heads": 2}, "target": "v", "schedule": "cosine",
            "timesteps": {"kind": "adaptive", "levels": 16, "update_every": 2, "chosen": 2, "queue": 4}},
    "adm": {"network": {"kind": "adm", "channels": 8, "mult": [1, 2], "blocks": 1, "attention": [4], "channels_per_head": 8, "dropout": 0},
            "weighting": {"kind": "uncertainty", "base": {"kind": "ugd", "every": 2}}, "timesteps": "loss_second_moment"},
    "corrected": {"network": {"kind": "adm", "channels": 8, "mult": [1, 2], "blocks": 1, "attention": [4], "channels_per_head": 8,
                              "dropout": 0.2},
                  "schedule": {"kind": "laplace", "b": 1.0}, "importance_base": "cosine", "target": "eps", "weighting": "min_snr",
                  "label_dropout": 0.2, "evaluation": {**tiny_fields()["evaluation"], "guidance": {"weight": 2.0}}},
}


def trace(name: str, folder: Path) -> dict[str, list[float]]:
    """Losses and intermediate scores of a run, and some values of its last averages."""
    fields = tiny_fields(optimiser=ADAM, **RECIPES[name])
    fields["evaluation"] = {**fields["evaluation"], "features": "pixels", "interim_samples": 128}
    list(train(make_recipe(fields), folder / name, folder / "cache"))
    rows, last = metrics_log.read(folder / name), list_snapshots(folder / name / "snapshots")[-2:]
    return {
        "losses": [row["loss"] for row in rows], "scores": [row["interim_fd_pixels"] for row in rows],
        "averages": [float(value) for snapshot in last for value in snapshot.file.read()[:: snapshot.size // 20]],
    }


def probe_features(cache: Path) -> list[float]:
    """Features of a few digits by a probe that was trained for a few steps."""
    data = Digits().load()
    return [float(v) for v in probe.Probe(dim=16, steps=20).prepare(data, cache)(data.images[:4]).features.flatten()]


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        traces = {name: trace(name, Path(folder)) for name in RECIPES}
        features = {"version": probe.VERSION, "features": probe_features(Path(folder) / "cache")}
    STORED.write_text(json.dumps({"numerics": NUMERICS, "traces": traces, "probe": features}, indent=1) + "\n")
    print(STORED)


if __name__ == "__main__":
    main()
