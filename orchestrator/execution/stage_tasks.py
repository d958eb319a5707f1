"""Ray tasks that train along with a step-adaptive trial, wherever CPUs or GPUs are free: its later groups, candidates of its proxy search.

The trial does not wait for them: it trains one group after the other, from the first on, and they from the last; who comes second finds the
lock of a group taken, and its training in the trial's folder.  The numbers are those of a trial that trains alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from orchestrator.records import events
from orchestrator.records.stage_store import StageStore
from search_spaces.study import Compute
from trainables.determinism import choose_workspace, deterministic
from trainables.errors import TrainingFailed, UserError
from trainables.files.storage import place, remove_tree
from trainables.recipe import unpacked
from trainables.stages.stage import Candidate, Stage

Pulse = Callable[[], None]  # says that the trial is at work


class StageTasks:
    """The tasks of one trial; `pulse` is called in them."""

    def __init__(self, compute: Compute, trial: Path, cache: Path, store: str, pulse: Pulse) -> None:
        self._trial, self._cache, self._store, self._pulse, self._threads = trial, cache, store, pulse, compute.cpus_per_worker
        self._options: dict[str, Any] = {
            "num_cpus": compute.cpus_per_worker, "num_gpus": compute.gpus_per_worker, "max_retries": 0,
            # Not within the resources of the trial, which are taken.
            "scheduling_strategy": PlacementGroupSchedulingStrategy(PlacementGroup.empty()),
        }
        self._tasks: list[ray.ObjectRef] = []
        self._folders: list[Path] = []

    def train(self, stages: Sequence[Stage]) -> None:
        """Train stages of the trial, the last ones first."""
        task = ray.remote(**self._options)(train_stage)
        for stage in reversed(stages):
            recipe = json.dumps(stage.recipe.packed)
            self._tasks.append(task.remote(stage.name, recipe, str(stage.folder), stage.key, *self._places, self._threads, self._pulse))

    def score(self, candidates: Sequence[Candidate], folder: Path) -> None:
        """Find the losses of candidates, the last ones first; their weights go through files in `folder`."""
        from trainables.networks.modules.start_file import write_start

        task = ray.remote(**self._options)(score_candidate)
        for candidate in reversed(candidates):
            recipe, its = candidate.recipe, folder / "candidates" / candidate.key
            assert recipe.start
            write_start(its, recipe.start, candidate.weights.state, candidate.weights.kept)
            self._folders.append(its)
            arguments = (json.dumps(recipe.packed), str(its), candidate.images, candidate.key, *self._places, self._threads, self._pulse)
            self._tasks.append(task.remote(*arguments))

    def close(self) -> None:
        """Stop what is still at work, and remove what only the tasks read."""
        for task in self._tasks:
            ray.cancel(task, force=True)
        for folder in self._folders:
            remove_tree(folder)
        self._tasks, self._folders = [], []

    @property
    def _places(self) -> tuple[str, str, str]:
        return str(self._trial), str(self._cache), self._store


def train_stage(name: str, recipe_json: str, folder: str, key: str, trial: str, cache: str, store: str, threads: int, pulse: Pulse) -> None:
    """Train a stage, unless somebody does; what goes wrong, the trial itself will meet and tell."""
    from trainables.training.loop import train
    from trainables.training.ranks import Ranks

    stages = StageStore(store, place(trial))
    stage = Stage(name, unpacked(json.loads(recipe_json)), place(folder), key)
    if not stages.claim(stage):
        return
    events.note(place(trial), "along", stage=name, message="is trained at the same time")
    try:
        ranks = Ranks(device=_device(threads))
        with deterministic(stage.recipe.arithmetic.deterministic, ranks.device):
            for _ in train(stage.recipe, stage.folder, place(cache), ranks, pulse):
                pulse()
    except (UserError, TrainingFailed):
        return
    finally:
        stages.keep(stage)


def score_candidate(recipe_json: str, folder: str, images: int, key: str, trial: str, cache: str, store: str, threads: int,
                    pulse: Pulse) -> None:
    """Find the loss of a candidate, unless somebody does; what goes wrong, the trial itself will meet and tell."""
    from trainables.networks.modules.start_file import read_start
    from trainables.stages.recovery import recovered_loss

    recipe, device = unpacked(json.loads(recipe_json)), _device(threads)
    assert recipe.start
    try:
        candidate = Candidate(recipe, read_start(place(folder), recipe.start), images, key)
        with deterministic(recipe.arithmetic.deterministic, device):
            StageStore(store, place(trial)).claim_loss(candidate, lambda its: recovered_loss(its, place(cache), device, pulse))
    except UserError:
        return


def _device(threads: int) -> Any:
    import torch

    choose_workspace()
    torch.set_num_threads(threads)
    return torch.device("cuda" if ray.get_gpu_ids() else "cpu")
