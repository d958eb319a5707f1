"""Checkpoints by time: a run that is killed between two reports goes on from the last one, and no number depends on them."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
import yaml

from tests.conftest import tiny_fields
from tests.trainables.training.test_training import final_weights
from tests.trainables.training.thread_ranks import on_ranks
from trainables.recipe import Recipe, make_recipe
from trainables.stage_key import stage_key
from trainables.training import checkpoint, checkpoint_clock, metrics_log
from trainables.training.checkpoint_clock import CheckpointClock
from trainables.training.diagnostics import Diagnostics
from trainables.training.loop import Run, train
from trainables.training.ranks import Ranks

DIT = {"kind": "dit", "width": 16, "depth": 1, "heads": 2}
ALWAYS = 1e-9  # minutes


def fields(minutes: float = 0.0, **changes) -> dict:
    return tiny_fields(network=DIT, duration={"images": 256, "batch_size": 32, "checkpoint_minutes": minutes}, **changes)


def numbers(folder: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if "second" not in k and k != "time"} for row in metrics_log.read(folder)]


def killed_at(images: int, recipe: Recipe, folder: Path, cache: Path) -> None:
    """A run that is killed in the step that begins there."""
    step = Run._step

    def killed(run: Run) -> None:
        if run.counters.images == images:
            raise KeyboardInterrupt
        step(run)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "_step", killed)
        list(train(recipe, folder, cache))


@pytest.mark.parametrize("changes", [
    {}, {"optimiser": {"kind": "sgd", "clip_norm": 1.0, "decay": "cosine"}, "diagnostics_every": 64},
    {"timesteps": {"kind": "adaptive", "levels": 16, "update_every": 2, "chosen": 2, "queue": 4}},
    {"timesteps": {"kind": "loss_second_moment", "cells": 4, "history": 1}, "weighting": {"kind": "uncertainty"}},
    {"weighting": {"kind": "ugd", "every": 2}, "arithmetic": {"nonfinite": "zero"}},
], ids=["plain", "sgd", "adaptive", "loss_second_moment", "ugd"])
def test_a_run_killed_between_reports_goes_on_with_the_same_numbers(changes: dict, tmp_path: Path, cache: Path) -> None:
    list(train(make_recipe(fields(**changes)), tmp_path / "whole", cache))
    recipe = make_recipe(fields(ALWAYS, **changes))
    killed_at(64, recipe, tmp_path / "cut", cache)
    assert checkpoint.images(tmp_path / "cut") == 64 and not metrics_log.read(tmp_path / "cut")
    killed_at(160, recipe, tmp_path / "cut", cache)
    assert checkpoint.images(tmp_path / "cut") == 128 + 32
    list(train(recipe, tmp_path / "cut", cache))
    assert numbers(tmp_path / "cut") == numbers(tmp_path / "whole")
    assert (final_weights(tmp_path / "cut") == final_weights(tmp_path / "whole")).all()


def test_the_time_of_training_goes_on_too(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10**6))
    monkeypatch.setattr("trainables.training.loop.time.perf_counter", lambda: float(next(clock)))
    recipe = make_recipe(fields(ALWAYS))
    killed_at(96, recipe, tmp_path, cache)
    stored = checkpoint.load(tmp_path, stage_key(recipe, cache))
    assert stored and stored[0].train_seconds == 3  # of three steps, each with a checkpoint
    assert next(iter(train(recipe, tmp_path, cache))).metrics["train_seconds"] == 3 + 1


def test_minutes_are_no_part_of_what_is_trained(tmp_path: Path) -> None:
    assert stage_key(make_recipe(fields(5.0)), tmp_path) == stage_key(make_recipe(fields()), tmp_path)


def test_ranks_whose_clocks_differ_agree_on_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    own = threading.local()
    monkeypatch.setattr(checkpoint_clock.time, "monotonic", lambda: own.now)

    def steps(ranks: Ranks) -> list[int]:
        own.now, due = 0.0, []
        clock = CheckpointClock(1.0, ranks)
        for step in range(200):
            own.now += 1.0 + ranks.rank
            if clock.due():
                due.append(step)
                clock.restart()
        return due

    assert on_ranks(3, steps) == [[59, 119, 179]] * 3


def test_every_rank_s_losses_between_reports_are_in_the_checkpoint() -> None:
    recipe = make_recipe(fields())

    def resumed(ranks: Ranks, cut: bool) -> dict[str, float]:
        diagnostics = Diagnostics(recipe, torch.nn.Identity(), ranks)
        for step in range(3):
            diagnostics.observe(torch.linspace(-3, 3, 8), torch.full((8,), 0.1 + step + ranks.rank))
            if cut:
                state = diagnostics.state()
                diagnostics = Diagnostics(recipe, torch.nn.Identity(), ranks)
                diagnostics.restore(state)
        return diagnostics.take(last=True)

    assert on_ranks(2, lambda ranks: resumed(ranks, True)) == on_ranks(2, lambda ranks: resumed(ranks, False))


@pytest.mark.slow
def test_two_processes_agree_on_when(tmp_path: Path, cache: Path) -> None:
    for name, minutes in {"without": 0.0, "with": ALWAYS}.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(fields(minutes, optimiser={"kind": "nadam", "clip_norm": 0.5})))
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "trainables",
                   str(tmp_path / f"{name}.yaml"), "--output", str(tmp_path / name), "--cache", str(cache), "--threads", "1"]
        subprocess.run(command, check=True, capture_output=True, timeout=200)
    assert numbers(tmp_path / "without") == numbers(tmp_path / "with")


def test_the_clock_is_looked_at_seldom_and_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, looks = [0.0], []

    def look() -> float:
        looks.append(now[0])
        return now[0]

    monkeypatch.setattr(checkpoint_clock.time, "monotonic", look)
    clock, due = CheckpointClock(10.0, Ranks()), []
    for step in range(20_000):
        now[0] += 0.125
        if clock.due():
            due.append(step)
            clock.restart()
    assert due == [4799, 9599, 14399, 19199] and len(looks) < 4 * 30
    assert not any(CheckpointClock(0.0, Ranks()).due() for _ in range(5))
