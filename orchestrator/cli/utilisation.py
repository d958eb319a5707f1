"""How busy the workers of a search are, simulated: what waiting for earlier results costs."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence

from search_spaces.study import Study

_TRIALS = 4_000  # enough for two digits


def lengths_under_stopping(study: Study) -> tuple[list[float], list[float]]:
    """Lengths of trials in images, and the share of the trials that has each: 1/factor goes on at each rung, up to the full length."""
    full, stopping = study.range_of("duration.images")[1], study.search.early_stopping
    rung, factor = getattr(stopping, "grace_images", full), getattr(stopping, "reduction_factor", 2.0)  # the median rule stops about half
    lengths, shares, left = [], [], 1.0
    while rung < full:
        lengths.append(float(rung))
        shares.append(left * (1 - 1 / factor))
        left /= factor
        rung *= factor
    return [*lengths, float(full)], [*shares, left]


def utilisation(lengths: Sequence[float], shares: Sequence[float], sweep: float, concurrent: int) -> float:
    """Share of the time, in (0, 1], in which the workers of `concurrent` trials at a time train in the reproducible order.

    A trial begins when all trials but the last `concurrent` before it have been trained and swept; `sweep` is in the unit of the
    lengths, and sweeps do not wait for each other. Seeded, so that the same study is told the same.
    """
    drawn = random.Random(0).choices(lengths, shares, k=_TRIALS)  # noqa: S311 - nothing secret
    free, known, ends = [0.0] * concurrent, 0.0, list[float]()
    for number, length in enumerate(drawn):
        if number > concurrent:
            known = max(known, ends[number - concurrent - 1] + sweep)
        ends.append(max(heapq.heappop(free), known) + length)
        heapq.heappush(free, ends[-1])
    return sum(drawn) / (concurrent * max(free))


def order_lines(study: Study, sweep: float) -> Iterator[str]:
    """What the order of a study's search means and costs, a line each; `sweep` is the duration of a sweep in training images."""
    concurrent, (lengths, shares) = study.compute.concurrent_trials, lengths_under_stopping(study)
    if study.asynchronous:
        yield f"asynchronous, {concurrent} at a time: proposed from all results known by then; the log replays it, a second run may differ"
        return
    busy = utilisation(lengths, shares, sweep, concurrent)
    yield f"reproducible, {concurrent} at a time: the same search in every run; workers are busy {busy:.0%} of the time, as simulated"
    if busy < 0.9:
        yield "search.order: asynchronous keeps them busy"
