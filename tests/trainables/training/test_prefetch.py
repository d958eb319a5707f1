"""Batches that a thread makes ahead are the same batches, and the thread gets in nobody's way."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import tiny_fields
from trainables.errors import TrainingFailed
from trainables.recipe import make_recipe
from trainables.training.batch import Batch
from trainables.training.inputs import Inputs
from trainables.training.loop import train
from trainables.training.prefetch import Prefetch
from trainables.training.ranks import Ranks

CHANGES = [
    {}, {"label_dropout": 0.5, "augment": {"kind": "edm", "probability": 0.5}}, {"timesteps": "stratified"},
    {"timesteps": {"kind": "loss_second_moment", "cells": 2, "history": 1}}, {"timesteps": {"kind": "adaptive", "levels": 16}},
]


def same(a: Batch, b: Batch) -> bool:
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(Batch)]
    return all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in pairs)


@pytest.mark.parametrize("changes", CHANGES, ids=str)
@pytest.mark.parametrize("ranks", [Ranks(), Ranks(1, 2)], ids=["one rank", "the second of two"])
def test_the_same_batches_from_any_step_on(changes: dict, ranks: Ranks) -> None:
    recipe = make_recipe(tiny_fields(**changes))
    data = recipe.data.load()
    ahead, now = Inputs(recipe, data, ranks), Inputs(recipe, data, ranks, prefetch=False)
    for images in (0, 32, 64, 192, 224, 32):  # in order, resumed further on, to the end, and back
        batch = ahead.batch(images)
        assert same(batch, now.batch(images))
        for inputs in (ahead, now):  # a policy that learns does so before the next batch is drawn
            inputs.draws.observe(images, np.linspace(0.1, 3, 32))
    ahead.close()
    now.close()


def running() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("prefetch")}


def test_the_thread_ends_with_the_run(tmp_path: Path, cache: Path) -> None:
    before = running()
    list(train(make_recipe(tiny_fields()), tmp_path / "whole", cache))
    assert not running() - before
    cut = train(make_recipe(tiny_fields()), tmp_path / "cut", cache)
    next(cut)
    assert len(running() - before) == 1
    cut.close()
    assert not running() - before
    with pytest.raises(TrainingFailed):
        list(train(make_recipe(tiny_fields(optimiser={"lr": 1e30}, max_nonfinite_steps=0)), tmp_path / "failed", cache))
    assert not running() - before


def test_an_error_comes_at_the_step_that_it_belongs_to() -> None:
    def make(index: int) -> int:
        if index == 2:
            raise OSError("the file is gone")
        return index * 10

    prefetch = Prefetch(make)
    assert [prefetch(0, 1), prefetch(1, 2)] == [0, 10]
    with pytest.raises(OSError, match="the file is gone"):
        prefetch(2, 3)
    assert prefetch(3, None) == 30
    prefetch.close()


SCRIPT = """
import os, signal, sys, time
from trainables.training.prefetch import Prefetch

signal.alarm(60)  # a deadlock would end here
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background, where it is ignored

def slow(index):
    time.sleep(0.2)
    return index

prefetch = Prefetch(slow)
prefetch(0, 1)
if sys.argv[1] == "fork":
    if os.fork():
        sys.exit(os.waitstatus_to_exitcode(os.wait()[1]) or prefetch(1, 2) != 1)
    sys.exit([prefetch(1, 2), prefetch(2, 3), prefetch(3, None)] != [1, 2, 3])
print("ready", flush=True)
for index in range(1, 1000):
    prefetch(index, index + 1)
"""


def test_a_forked_process_goes_on_by_itself() -> None:
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT, "fork"], timeout=60).returncode == 0


def test_an_interrupt_ends_the_process() -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, "run"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=60)[1]
    assert time.monotonic() - started < 20 and process.returncode == -signal.SIGINT
