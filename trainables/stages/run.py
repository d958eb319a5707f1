"""A whole training in stages: a guide, a base, its experts, one after the other in one tree of folders, each through `train`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from trainables.determinism import deterministic
from trainables.evaluation.scoring import evaluator_of
from trainables.recipe import Recipe, keep_recipe
from trainables.stage_key import stage_key
from trainables.stages.composition import base_recipe, guide_recipe
from trainables.stages.joint import joint_denoiser
from trainables.stages.preparation import prepare_experts
from trainables.stages.stage import BASE, GUIDE, ExpertPlan, NoStore, Stage, Store, read_plan
from trainables.training import checkpoint, metrics_log
from trainables.training.loop import train
from trainables.training.progress import Progress
from trainables.training.ranks import Ranks


def train_stages(
    recipe: Recipe, folder: Path, cache: Path, ranks: Ranks | None = None, pulse: Callable[[], None] = lambda: None,
    store: Store | None = None,
) -> Iterator[Progress]:
    """Train a guide in `folder`/guide, the base in `folder`/base and then each group's expert in `folder`/group-N, of which the recipe may
    lack guide or experts; yields each report of the base and one after each group, those of earlier calls first.

    Images are counted over base and groups.  After a group, the score is that of the experts so far with the base at the other levels.
    A stage goes on from its own checkpoint, so that the same call goes on after a kill at any time, with the same numbers.  All rows are
    in `folder`/metrics.jsonl, too.  `store` may hold stages that other trainings share.
    Raises what `train` raises, and ConfigError where groups or budgets are impossible for the trained base.
    """
    ranks, store = ranks or Ranks(), store or NoStore()
    first = ranks.rank == 0
    if first:
        keep_recipe(recipe, folder)
    with deterministic(recipe.arithmetic.deterministic, ranks.device):
        if recipe.guide:
            guide = guide_stage(recipe, folder, cache, ranks)
            if first:
                store.take(guide)
            _wait(ranks)
            for _ in _train(guide, cache, ranks, pulse, store):
                pulse()
        base, told = base_stage(recipe, folder, cache, ranks), 0
        if first:
            store.take(base)
        _wait(ranks)
        trained_before = checkpoint.images(base.folder)
        for progress in _train(base, cache, ranks, pulse, store):
            rows = metrics_log.read(base.folder)
            if first:
                _pass_on(folder, rows)
            for row in rows:
                if told < row["images"] <= progress.images:
                    told = row["images"]
                    done = recipe.experts is None and told >= recipe.duration.images
                    yield Progress(told, metrics_log.metrics_of(row), done, recalled=told <= trained_before)
        if recipe.experts is None:
            return
        if first:
            prepare_experts(recipe, folder, cache, ranks, pulse, store)
        _wait(ranks)
        plan = read_plan(folder)
        assert plan
        images, stages = recipe.duration.images, [expert.stage(folder) for expert in plan.experts]
        before = {stage.name: checkpoint.images(stage.folder) for stage in stages}
        if first:
            store.offer([stage for stage in stages if before[stage.name] < stage.recipe.duration.images])
        for number, stage in enumerate(stages, 1):
            elsewhere = store.take(stage) if first else 0
            _wait(ranks)
            for _ in _train(stage, cache, ranks, pulse, store):
                pulse()
            images += stage.recipe.duration.images
            metrics = joint_report(recipe, folder, cache, plan, number, images, ranks.device, pulse) if first else {}
            recalled = max(before[stage.name], elsewhere) >= stage.recipe.duration.images
            yield Progress(images, metrics, number == len(plan.experts), recalled)


def base_stage(recipe: Recipe, folder: Path, cache: Path, ranks: Ranks) -> Stage:
    """The stage of the network itself in the training in `folder`."""
    return _stage(BASE, base_recipe(recipe), folder, cache, ranks)


def guide_stage(recipe: Recipe, folder: Path, cache: Path, ranks: Ranks) -> Stage:
    """The stage of the network that guides."""
    return _stage(GUIDE, guide_recipe(recipe), folder, cache, ranks)


def _stage(name: str, recipe: Recipe, folder: Path, cache: Path, ranks: Ranks) -> Stage:
    return Stage(name, recipe, folder / name, stage_key(recipe, cache, ranks.world, ranks.device.type))


def joint_report(
    recipe: Recipe, folder: Path, cache: Path, plan: ExpertPlan, finished: int, images: int, device: torch.device,
    pulse: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """The interim score of the first `finished` experts with the base at the other levels, and its row in `folder`/metrics.jsonl.

    The best of the tracked EMA lengths, the same for all networks.  What has a row is not computed again.
    """
    for row in metrics_log.read(folder):
        if row["images"] == images and row.get("plan") == plan.key:
            return metrics_log.metrics_of(row)
    evaluator, scores = evaluator_of(recipe, cache, pulse), []
    for width in recipe.ema.sigma_rels:
        lengths = [width if i < finished else None for i in range(len(plan.experts))]
        router = joint_denoiser(recipe, folder, plan, lengths, width, device)
        scores.append((evaluator.score(router, recipe.evaluation.interim_samples, interim=True, pulse=pulse), width))
    score, width = min(scores, key=lambda scored: scored[0].distance)
    row = {
        "images": images, "time": time.time(), "feature_hash": score.feature_hash, "plan": plan.key, "experts_finished": float(finished),
        f"interim_{evaluator.metric}": score.distance, "interim_sigma_rel": width,
        **{name: value for name, value in score.metrics.items() if name.startswith("held_out_loss")},
    }
    metrics_log.drop_after(folder, images - 1)  # of an earlier plan
    metrics_log.append(folder, row)
    return metrics_log.metrics_of(row)


def _train(stage: Stage, cache: Path, ranks: Ranks, pulse: Callable[[], None], store: Store) -> Iterator[Progress]:
    try:
        yield from train(stage.recipe, stage.folder, cache, ranks, pulse)
    finally:
        if ranks.rank == 0:
            store.keep(stage)


def _pass_on(folder: Path, rows: list[dict[str, Any]]) -> None:
    """The base's rows that the whole training's log does not have yet."""
    known = {row["images"] for row in metrics_log.read(folder)}
    for row in rows:
        if row["images"] not in known:
            metrics_log.append(folder, row)


def _wait(ranks: Ranks) -> None:
    """Until all ranks are here: the first one has written what the others read."""
    if ranks.world > 1:
        torch.distributed.barrier()
