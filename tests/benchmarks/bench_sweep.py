"""An EMA-tuned comparison of eight trials of the quick start: optimised EMA length against a grid of 24 per trial.

Evaluations and seconds are compared; both must find the same optimum within the interval that the optimised sweep states.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import torch

from search_spaces.study import load_study
from tests.benchmarks.record import Result, machine
from trainables.ema.optimum import Scored, locate
from trainables.ema.sweep_settings import Sweep, make_sweep, parse_lengths
from trainables.evaluation.scoring import evaluator_of
from trainables.evaluation.sweep import SweepResult, sweep
from trainables.training.loop import train

VARIANTS = [
    {"weighting.gamma": gamma, "schedule.kind": schedule, "optimiser.lr": lr}
    for gamma, schedule, lr in [
        (2.0, "cosine", 0.02), (5.0, "cosine", 0.04), (10.0, "cosine", 0.01), (5.0, "edm_lognormal", 0.02), (2.0, "edm_lognormal", 0.05),
        (5.0, "laplace", 0.02), (10.0, "laplace", 0.05), (20.0, "edm_lognormal", 0.01),
    ]
]
GRID = make_sweep({"sigma_rels": parse_lengths("0.02:0.25:24")})
OPTIMISED = make_sweep({"sigma_rels": {"low": 0.02, "high": 0.25}})


def run() -> list[Result]:
    study, folder = load_study("quickstart"), Path(tempfile.mkdtemp(prefix="snrlab-bench-"))
    torch.set_num_threads(1)
    totals = {GRID: [0, 0.0], OPTIMISED: [0, 0.0]}
    inside = 0
    try:
        for number, values in enumerate(VARIANTS):
            recipe = study.recipe(values)
            for _ in train(recipe, folder / str(number), folder / "cache"):
                pass
            evaluator_of(recipe, folder / "cache").warm_up()
            found: dict[Sweep, SweepResult] = {}
            for settings in (GRID, OPTIMISED):
                found[settings] = sweep(recipe, folder / str(number), folder / "cache", settings)
                totals[settings][0] += found[settings].evaluations
                totals[settings][1] += found[settings].seconds
            grid = locate([Scored(p.sigma_rel, p.distance) for p in found[GRID].points])
            best = found[OPTIMISED].optima[0]
            lowest = [min(p.distance for p in found[s].points) for s in (GRID, OPTIMISED)]
            agrees = best.low <= grid.sigma_rel <= best.high
            inside += agrees
            print(f"  trial {number}: grid {grid.sigma_rel:.4f} ({lowest[0]:.3f}), optimised {best.sigma_rel:.4f} "
                  f"[{best.low:.4f}, {best.high:.4f}] ({lowest[1]:.3f}){'' if agrees else '  outside'}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    name, on = "EMA-tuned comparison of 8 trials", machine()
    (grid_count, grid_seconds), (count, seconds) = totals[GRID], totals[OPTIMISED]
    return [
        Result(f"{name}: evaluations", count, grid_count, "grid of 24", "", grid_count / count, on),
        Result(f"{name}: time", seconds, grid_seconds, "grid of 24", "s", grid_seconds / seconds, on),
        Result(f"{name}: grid's optimum in our interval", inside, len(VARIANTS), "all trials", "trials", inside / len(VARIANTS), on),
    ]


