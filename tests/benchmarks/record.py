"""What a benchmark returns, how it is timed, and how results are shown."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results.json"


def machine() -> str:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{platform.machine()}, {torch.get_num_threads()} threads, {gpu}, torch {torch.__version__}"


@dataclass(frozen=True)
class Result:
    """`ratio` says how many times better ours is."""

    name: str
    ours: float
    peer: float
    peer_name: str
    unit: str
    ratio: float
    machine: str


def interleaved(ours: Callable[[], object], peer: Callable[[], object], rounds: int = 7) -> tuple[float, float]:
    """Median seconds of each, called in turn so that a busy machine slows both; one call of each is a warm-up."""
    times: tuple[list[float], list[float]] = ([], [])
    for i in range(rounds + 1):
        for which, call in enumerate((ours, peer)):
            started = time.perf_counter()
            call()
            if i:
                times[which].append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1])


def show(results: list[Result]) -> None:
    print(f"{'benchmark':<44}{'ours':>12}{'peer':>12}  {'unit':<10}{'ratio':>8}  peer")
    for r in results:
        print(f"{r.name:<44}{r.ours:>12.4g}{r.peer:>12.4g}  {r.unit:<10}{r.ratio:>7.2f}x  {r.peer_name}")
    RESULTS.write_text(json.dumps([asdict(r) for r in results], indent=1))
