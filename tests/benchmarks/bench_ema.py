"""Reconstruction of 16 averages from 64 x 2 fp16 snapshots of a network of 25 M parameters, on one thread, against two peers.

The first peer is written from the description of the public script: snapshots are whole pickled models, targets come eight at a
pass, and each is accumulated tensor by tensor.  The second is ema-pytorch from PyPI, which makes one target at a time.
Every side starts with cold files and writes its averages as fp16.
"""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from tests.benchmarks.record import Result, machine
from trainables.ema.reconstruct import Target, plan
from trainables.ema.snapshots import list_snapshots, write_snapshot
from trainables.networks.edm2 import Edm2

TIMES, WIDTHS, TARGETS = 64, (0.05, 0.1), tuple(np.geomspace(0.03, 0.25, 16))
PEER_TARGETS = 2  # of ema-pytorch, whose time is proportional to their number


def run() -> list[Result]:
    folder = Path(tempfile.mkdtemp(prefix="snrlab-bench-"))
    try:
        stored = _in_process(_write_ours, folder / "ours")
        ours = _in_process(_ours, folder / "ours")
        reading = _in_process(_read_once, folder / "ours")
        shutil.rmtree(folder / "ours")
        _in_process(_write_whole, folder / "whole")
        by_tensor = _in_process(_by_tensor, folder / "whole")
        shutil.rmtree(folder / "whole")
        _in_process(_write_peer, folder / "peer")
        library = _in_process(_library, folder / "peer") * len(TARGETS) / PEER_TARGETS
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    name, on = "EMA reconstruction, 16 targets of 64 x 2", machine()
    seconds, memory, read = ours
    return [
        Result(name, seconds, by_tensor, "tensor by tensor, 8 targets a pass", "s", by_tensor / seconds, on),
        Result(name, seconds, library, f"ema-pytorch ({PEER_TARGETS} of 16 measured)", "s", library / seconds, on),
        Result("  time", seconds, reading, "reading the files once, cold", "s", reading / seconds, on),
        Result("  bytes read", read / 1e9, stored / 1e9, "bytes stored", "GB", stored / read, on),
        Result("  memory above imports", memory / 1e9, 0.3, "goal", "GB", 0.3 / max(memory / 1e9, 1e-3), on),
    ]


def _in_process(function, folder: Path):
    """In a fresh process, so that memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_alone, function, folder).result()


def _alone(function, folder: Path):
    torch.set_num_threads(1)
    if folder.exists():
        os.sync()
        for path in folder.iterdir():  # out of the page cache
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
    return function(folder)


def _network() -> torch.nn.Module:
    return Edm2(channels=60, mult=(1, 2, 3, 4), blocks=3, attention=(16, 8), channels_per_head=20).build(3, 32, 10)


def _changing(network: torch.nn.Module) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.999).add_(1e-3)


def _write_ours(folder: Path) -> int:
    network = _network()
    names, parameters = [n for n, _ in network.named_parameters()], list(network.parameters())
    for t in range(1, TIMES + 1):
        for width in WIDTHS:
            _changing(network)
            write_snapshot(folder, t * 1000, width, parameters, names, dtype="fp16")
    return sum(s.file.stored_bytes for s in list_snapshots(folder))


def _ours(folder: Path) -> tuple[float, int, int]:
    (folder / "out").mkdir()
    before, read = _peak(), _bytes_read()
    started = time.perf_counter()
    plan(list_snapshots(folder), [Target(w, TIMES * 1000) for w in TARGETS], "reference").save(folder / "out", "fp16")
    return time.perf_counter() - started, _peak() - before, _bytes_read() - read


def _read_once(folder: Path) -> float:
    buffer = memoryview(bytearray(4 << 20))
    started = time.perf_counter()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.perf_counter() - started


def _write_whole(folder: Path) -> None:
    folder.mkdir()
    network = _network()
    for t in range(1, TIMES + 1):
        for k in range(len(WIDTHS)):
            _changing(network)
            torch.save({n: p.half() for n, p in network.state_dict().items()}, folder / f"{t:04d}-{k}.pt")


def _by_tensor(folder: Path) -> float:
    from trainables.ema import solve_posthoc_coefficients

    started = time.perf_counter()
    files = sorted(folder.glob("*.pt"))
    t = [int(f.stem.split("-")[0]) for f in files]
    x = solve_posthoc_coefficients(t, [WIDTHS[int(f.stem.split("-")[1])] for f in files], TIMES, TARGETS)
    for first in range(0, len(TARGETS), 8):
        sums: list[dict[str, torch.Tensor]] = [{} for _ in TARGETS[first : first + 8]]
        for row, file in zip(x, files, strict=True):
            model = torch.load(file, weights_only=True)
            for total, coefficient in zip(sums, row[first : first + 8], strict=True):
                for name, tensor in model.items():
                    part = tensor.float() * float(coefficient)
                    total[name] = total[name].add_(part) if name in total else part
        for k, total in enumerate(sums):
            torch.save({n: v.half() for n, v in total.items()}, folder / f"made-{first + k}")
    return time.perf_counter() - started


def _write_peer(folder: Path) -> None:
    ema = _peer(folder)
    for t in range(1, TIMES + 1):
        for average in ema.ema_models:
            average.step.fill_(t)
            _changing(average.ema_model)
        ema.checkpoint()


def _library(folder: Path) -> float:
    ema = _peer(folder)
    started = time.perf_counter()
    for k, width in enumerate(TARGETS[:PEER_TARGETS]):
        made = ema.synthesize_ema_model(sigma_rel=float(width))
        torch.save({n: v.half() for n, v in made.ema_model.state_dict().items()}, folder / f"made-{k}")
    return time.perf_counter() - started


def _peer(folder: Path):
    from ema_pytorch import PostHocEMA

    return PostHocEMA(_network(), sigma_rels=WIDTHS, checkpoint_every_num_steps="manual", checkpoint_folder=str(folder))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


