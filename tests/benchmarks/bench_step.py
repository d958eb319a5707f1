"""What surrounds the network in a training step: operators, the forced weight norm, and waiting for the next batch.

Operators are counted as they reach the device, a foreach operator being one; on a GPU each is a launch or a few.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tests.benchmarks.bench_training import CONFIGS, Peer
from tests.benchmarks.record import Result, interleaved, machine
from tests.operators import one_step, operators
from trainables.data import ImageData
from trainables.networks.edm2 import Edm2
from trainables.networks.modules.forced_norm import ForcedNorm
from trainables.networks.modules.magnitude import MPConv, rms_unit
from trainables.recipe import make_recipe
from trainables.training.inputs import Inputs
from trainables.training.loop import Run
from trainables.training.ranks import Ranks

BATCH, STEP_SECONDS = 512, 0.1  # images of 3x32x32, and what a GPU would compute meanwhile


def run() -> list[Result]:
    torch.set_num_threads(1)
    return [operators_of_a_step(), forced_norm(), *waiting()]


def operators_of_a_step() -> Result:
    """Everything but the network's forward pass and the backward pass, against loops over parameters for Adam and averages alone."""
    settings, channels, resolution, _ = CONFIGS["32x32, 1.7 M parameters, batch 64"]
    data = torch.randn(2, channels, resolution, resolution), torch.randn(2), torch.eye(10)[:2]
    peer = Peer(settings, channels, resolution, data)
    for p in peer.parameters:
        p.grad = torch.zeros_like(p)
    with operators() as loops:
        peer.update()
    with tempfile.TemporaryDirectory() as folder:
        recipe = make_recipe({"network": settings.model_dump(), "duration": {"images": 25_600, "batch_size": 4}})
        ours = Run(recipe, Path(folder) / "run", Path(folder) / "cache", Ranks())
        count = one_step(ours).outside.total()
        ours.close()
    return Result("operators of a step beside the network", count, loops.total(), "loops over parameters", "operators",
                  loops.total() / count, machine())


def forced_norm() -> Result:
    """The default network's weights together, against one after the other."""
    ours, peer = (Edm2().build(1, 8, 10) for _ in range(2))
    norm, layers = ForcedNorm(ours), [m for m in peer.modules() if isinstance(m, MPConv)]

    @torch.no_grad()
    def one_by_one() -> None:
        for layer in layers:
            layer.weight.copy_(rms_unit(layer.weight))

    seconds = interleaved(norm, one_by_one, rounds=31)
    return Result(f"forced weight norm, {_millions(ours):.1f} M parameters", seconds[0] * 1e3, seconds[1] * 1e3, "weight by weight", "ms",
                  seconds[1] / seconds[0], machine())


def waiting() -> list[Result]:
    """A step's wait for its batch where the step computes on something else than this core."""
    generator = np.random.default_rng(0)
    data = ImageData(generator.integers(0, 256, (4096, 3, 32, 32), dtype=np.uint8), np.zeros(4096, dtype=np.int64), 10)
    recipe = make_recipe({"duration": {"images": BATCH * 1000, "batch_size": BATCH}, "evaluation": {"every": BATCH * 1000},
                          "ema": {"snapshot_every": BATCH * 1000}})
    ahead, asked = Inputs(recipe, data, Ranks()), Inputs(recipe, data, Ranks(), prefetch=False)
    images = itertools.count(0, BATCH)
    worker = iter(torch.utils.data.DataLoader(Stream(data), batch_size=None, num_workers=1, multiprocessing_context="spawn"))
    calls: list[Callable[[int], object]] = [ahead.batch, asked.batch, lambda _: next(worker)]
    waits: list[list[float]] = [[], [], []]
    for first in itertools.islice(images, 16):
        for call, seconds in zip(calls, waits, strict=True):
            started = time.perf_counter()
            call(first)
            seconds.append(time.perf_counter() - started)
            time.sleep(STEP_SECONDS)
    ahead.close()
    asked.close()
    ours, *peers = (statistics.median(seconds[3:]) * 1e3 for seconds in waits)
    names = "made when asked for", "torch DataLoader, one process, torch.randn"
    return [Result(f"wait for {BATCH} images of 3x32x32", ours, peer, name, "ms", peer / ours, machine())
            for peer, name in zip(peers, names, strict=True)]


class Stream(torch.utils.data.IterableDataset[tuple[Tensor, Tensor]]):
    """The usual way: shuffled images and noise that depend on the worker's own generator."""

    def __init__(self, data: ImageData) -> None:
        self.data = data

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            clean = self.data.whitened(torch.randint(len(self.data.images), (BATCH,)).numpy())
            yield clean, torch.randn_like(clean)


def _millions(net: nn.Module) -> float:
    return sum(p.numel() for p in net.parameters()) / 1e6
