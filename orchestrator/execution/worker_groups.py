"""Warm worker groups: processes that keep torch, the data and the process group, and take one recipe after another.

Starting a Ray Train run costs some 20 seconds of process starts and imports, so a group is started once and then fed
through the dispatcher; the next trial's first step follows the last one's end within milliseconds.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import ray
from ray.actor import ActorHandle

from orchestrator.cluster.ray_cluster import ray_storage
from orchestrator.execution.dispatcher import Assignment, Message
from orchestrator.execution.stage_tasks import StageTasks
from orchestrator.records import events, provenance
from orchestrator.records.stage_store import StageStore
from search_spaces.study import Compute
from trainables.determinism import choose_workspace
from trainables.errors import TrainingFailed, UserError, in_one_line
from trainables.files.storage import place
from trainables.recipe import unpacked

if TYPE_CHECKING:
    from ray.train.torch import TorchTrainer


_SECONDS_BETWEEN_PULSES = 5.0


class Group(Protocol):
    """What a trial needs of whatever trains for it."""

    def assign(self, recipe_json: str, folder: Path, cache: Path, store: Path | None) -> None:
        """Take the next recipe; an unfinished one is given up.  Stages that trials share are taken from and kept in `store`."""

    def next_message(self) -> Message:
        """Go on with the recipe until there is something to tell."""

    def close(self) -> None:
        """Let the resources go."""


def make_group(compute: Compute, dispatcher: ActorHandle, storage: Path) -> Group:
    return TrainGroup(compute, dispatcher, storage) if compute.workers else InProcessGroup(compute)


class InProcessGroup:
    """Trains inside the process that owns it (`workers: 0`, for small CPU runs)."""

    def __init__(self, compute: Compute) -> None:
        import torch

        choose_workspace()
        torch.set_num_threads(compute.cpus_per_worker)
        self._compute, self._serial = compute, -1
        self._messages: Iterator[Message] = iter(())

    def assign(self, recipe_json: str, folder: Path, cache: Path, store: Path | None) -> None:
        self._serial += 1
        assignment = Assignment(self._serial, recipe_json, str(folder), str(cache), str(store or ""))
        self._messages = _train(assignment, None, _nothing, self._compute)

    def next_message(self) -> Message:
        return next(self._messages)

    def close(self) -> None:
        self._messages = iter(())


class TrainGroup:
    """A Ray Train V2 run whose workers wait for recipes; lost workers are restarted and go on from the checkpoint."""

    def __init__(self, compute: Compute, dispatcher: ActorHandle, storage: Path) -> None:
        self._name = f"group-{uuid.uuid4().hex[:8]}"
        self._dispatcher, self._compute, self._storage = dispatcher, compute, storage
        self._serial = -1
        self._start()

    def assign(self, recipe_json: str, folder: Path, cache: Path, store: Path | None) -> None:
        self._serial += 1
        assignment = Assignment(self._serial, recipe_json, str(folder), str(cache), str(store or ""))
        ray.get(self._dispatcher.assign.remote(self._name, assignment))
        if self._given_up:  # with an earlier recipe; the next one has its own chances
            self._start()

    def next_message(self) -> Message:
        """What the workers say next; workers without any news for too long are killed, which makes Train start them anew."""
        patience = self._compute.hang_minutes * 60 or None
        for _ in range(self._compute.max_failures + 1):
            waiting: Any = self._dispatcher.next_message.remote(self._name)
            silence = 0.0
            while not patience or silence < patience:
                try:
                    return ray.get(waiting, timeout=patience and patience - silence)
                except ray.exceptions.GetTimeoutError:
                    silence = ray.get(self._dispatcher.silence.remote(self._name))
            ray.cancel(waiting)
            for worker in ray.get(self._dispatcher.members.remote(self._name)):
                ray.kill(worker)
        reason = f"no news of the workers for {self._compute.hang_minutes:g} minutes, after every restart"
        self._fail(self._serial, reason)
        return Message(self._serial, failure=reason)

    def close(self) -> None:
        ray.get(self._dispatcher.close.remote(self._name))
        self._thread.join(timeout=5)

    def _start(self) -> None:
        self._given_up = False
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        """Keep a Train run going; fail the recipe at hand once that has cost `max_failures` restarts or more."""
        failures = 0
        while True:
            serial = self._serial
            try:
                self._trainer().fit()
                return
            except Exception as error:
                # Train mends the loss of workers itself, so that this is its last word; the loss of its controller it cannot.
                last_word = not isinstance(error, ray.exceptions.RayActorError)
                at_hand = self._serial == serial  # else earlier recipes had their share in it
                failures = failures + 1 if at_hand else 1
                if (last_word and at_hand) or failures > self._compute.max_failures:
                    self._given_up = True
                    self._fail(self._serial, f"the worker group was lost: {in_one_line(error)}")
                    return

    def _fail(self, serial: int, reason: str) -> None:
        ray.get(self._dispatcher.fail.remote(self._name, serial, reason))

    def _trainer(self) -> TorchTrainer:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        compute = self._compute
        resources: dict[str, float] = {"CPU": compute.cpus_per_worker}
        if compute.gpus_per_worker:
            resources["GPU"] = compute.gpus_per_worker
        return TorchTrainer(
            _work,
            train_loop_config={"dispatcher": self._dispatcher, "group": self._name, "compute": compute},
            scaling_config=ScalingConfig(
                num_workers=compute.workers, use_gpu=bool(compute.gpus_per_worker), resources_per_worker=resources
            ),
            run_config=RunConfig(
                name=self._name, **ray_storage(self._storage),
                failure_config=FailureConfig(max_failures=compute.max_failures),
            ),
        )


def _work(config: dict[str, Any]) -> None:
    """The loop of every Train worker: take a recipe, train it, tell, until sent home."""
    import ray.train
    import ray.train.torch
    import torch

    from trainables.training.ranks import Ranks

    choose_workspace()
    compute: Compute = config["compute"]
    torch.set_num_threads(compute.cpus_per_worker)
    context = ray.train.get_context()
    ranks = Ranks(context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())
    dispatcher, group = config["dispatcher"], config["group"]
    ray.get(dispatcher.join.remote(group, ranks.rank, ray.get_runtime_context().current_actor))
    pulse = _Pulse(dispatcher, group)
    last = -1
    while (assignment := ray.get(dispatcher.next_assignment.remote(group, last))) is not None:
        last = assignment.serial
        for message in _train(assignment, ranks, pulse, compute):
            if not ray.get(dispatcher.report.remote(group, ranks.rank, message)):
                break


class _Pulse:
    """Says that a worker of a group is at work, every few seconds while it is."""

    def __init__(self, dispatcher: ActorHandle, group: str) -> None:
        self._dispatcher, self._group, self._again = dispatcher, group, 0.0

    def __call__(self) -> None:
        if time.monotonic() > self._again:
            self._again = time.monotonic() + _SECONDS_BETWEEN_PULSES
            self._dispatcher.pulse.remote(self._group)


def _nothing() -> None:
    """Nobody waits for a sign of life."""


@contextlib.contextmanager
def _store(
    assignment: Assignment, folder: Path, cache: Path, alone: bool, pulse: Callable[[], None], compute: Compute
) -> Iterator[StageStore]:
    """What trials share; where one process trains, tasks may train along with it."""
    if not assignment.store or not alone or not ray.is_initialized():
        yield StageStore(assignment.store, folder, pulse=pulse)
        return
    with contextlib.closing(StageTasks(compute, folder, cache, assignment.store, pulse)) as tasks:
        yield StageStore(assignment.store, folder, tasks, pulse)


def _train(assignment: Assignment, ranks: Any, pulse: Callable[[], None], compute: Compute) -> Iterator[Message]:
    """Train an assignment; what goes wrong with one recipe is told, and does not cost the group."""
    from trainables.stages.run import train_stages
    from trainables.training.loop import train

    try:
        recipe = unpacked(json.loads(assignment.recipe_json))
        folder, cache, alone = place(assignment.folder), place(assignment.cache), ranks is None or ranks.world == 1
        with events.warnings_noted(folder), _store(assignment, folder, cache, alone, pulse, compute) as store:
            note = partial(provenance.write, folder, recipe, cache)
            if ranks is None:
                note()
            else:
                ranks.together(note if ranks.rank == 0 else lambda: None)
            run = partial(train_stages, store=store) if recipe.in_stages else partial(train, recall=True)
            for progress in run(recipe, folder, cache, ranks, pulse):
                yield Message(assignment.serial, progress)
    except (UserError, TrainingFailed) as error:
        yield Message(assignment.serial, failure=str(error))
    except Exception as error:
        if ranks is not None and ranks.world > 1:
            raise  # where it came within a step, the other ranks wait in a collective: only a restart of the group frees them
        yield Message(assignment.serial, failure=f"{in_one_line(error)}\n{traceback.format_exc()}")
