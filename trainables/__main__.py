"""Train one recipe, all its stages if it has experts or a guide, without Ray; writes the same files as a trial of a study.

    python -m trainables recipe.yaml --output runs/one
    torchrun --nproc-per-node 2 -m trainables recipe.yaml --output runs/one
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trainables.determinism import choose_workspace, deterministic
from trainables.errors import TrainingFailed, UserError
from trainables.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    import torch

    from trainables.ema.sweep_settings import Sweep


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m trainables", description="Train one recipe without Ray.")
    parser.add_argument("recipe", type=Path, help="recipe file (YAML)")
    parser.add_argument("--output", type=Path, help="folder of the run (default: runs/recipes/KEY)")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="folder shared by runs (feature networks)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's own choice)")
    parser.add_argument("--sweep", type=float, nargs="*", metavar="SIGMA_REL", help="score these EMA lengths at the end")
    chosen = parser.parse_args(arguments)
    try:
        return _run(load_recipe(chosen.recipe), chosen)
    except UserError as error:
        print(f"trainables: {error}", file=sys.stderr)
        return 2
    except TrainingFailed as error:
        print(f"trainables: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("trainables: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130


def _run(recipe: Recipe, chosen: argparse.Namespace) -> int:
    choose_workspace()
    import torch

    from trainables.ema.sweep_settings import make_sweep
    from trainables.stages.run import train_stages
    from trainables.training.loop import train
    from trainables.training.ranks import Ranks

    wanted = make_sweep({"sigma_rels": chosen.sweep}) if chosen.sweep else None
    recipe.check_files()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    for warning in recipe.warnings if rank == 0 else ():
        print(f"trainables: warning: {warning}", file=sys.stderr)
    device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu")
    if world > 1:
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    output = (chosen.output or Path("runs/recipes") / recipe.key[:12]).absolute()
    try:
        start = train_stages if recipe.in_stages else train
        for progress in start(recipe, output, chosen.cache.absolute(), Ranks(rank, world, device)):
            if rank == 0:
                shown = ", ".join(f"{name} {value:.4g}" for name, value in progress.metrics.items())
                print(f"{progress.images} images: {shown}", flush=True)
    finally:
        if world > 1:
            torch.distributed.destroy_process_group()
    if rank == 0:
        if wanted:
            with deterministic(recipe.arithmetic.deterministic, device):
                _sweep(recipe, output, chosen.cache.absolute(), wanted, device)
        print(output)
    return 0


def _sweep(recipe: Recipe, output: Path, cache: Path, wanted: Sweep, device: torch.device) -> None:
    """Print the score of each EMA length; of experts also that of each group's own length."""
    from trainables.stages.guided import sweep_network
    from trainables.stages.lengths import sweep_experts

    metric = recipe.evaluation.features.metric
    if not recipe.experts:
        result = sweep_network(recipe, output, cache, wanted, device=device)
        for point in result.points:
            print(f"sigma_rel {point.sigma_rel:g}: {metric} {point.distance:.4f}", flush=True)
        for found in result.classical:
            print(f"classical average {found.name}: {metric} {found.score.distance:.4f} (width {found.sigma_rel:.3g})", flush=True)
        return
    experts = sweep_experts(recipe, output, cache, wanted, device)
    for choice in experts.choices:
        lengths = ", ".join(f"{length:g}" for length in (choice.sigma_rels if choice.how == "joint" else choice.sigma_rels[:1]))
        print(f"sigma_rel {lengths} ({choice.how}): {metric} {choice.score.distance:.4f}", flush=True)
    print(f"best: {experts.best.how}")


if __name__ == "__main__":
    sys.exit(main())
