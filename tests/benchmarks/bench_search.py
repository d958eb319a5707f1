"""Training images until a search's best score is within 5 % of the best known one.

Ours: TPE with ASHA, each trial scored at its own best EMA length.  Peer: random search, every trial trained to its end and scored at one
EMA length for all.  Both run on recorded trials (recorded_trials.py); sweeps cost no images.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.search.verdicts import COMPLETE, STOPPED, Verdict
from search_spaces.study import make_study
from tests.benchmarks.record import Result, machine
from tests.benchmarks.recorded_trials import RecordedTrials
from tests.orchestrator.search.test_search import Session

SEEDS, MOST = 10, 200  # searches; trials of each
CLOSE = 1.05
RANDOM = {"sampler": "random"}
TPE = {"sampler": "tpe"}
ASHA = {"early_stopping": {"kind": "asha", "grace_images": 7680, "reduction_factor": 2}}  # from half of the length on
EARLY = {"early_stopping": {"kind": "asha", "grace_images": 3840, "reduction_factor": 3}}


def run() -> list[Result]:
    recorded = RecordedTrials()
    middle = recorded.scores({path: axis.at(0.5) for path, axis in recorded.study.space.items()})
    fixed = int(np.argmin(middle))  # the length that a run in the middle of the space suggests
    length = recorded.sigma_rels[fixed]
    print(f"  best known {recorded.best:.3f}; at sigma_rel {length:g} alone {recorded.lowest(fixed):.3f}; "
          f"wanted {CLOSE * recorded.best:.3f}", flush=True)
    ours, note = _median(recorded, {**TPE, **ASHA}, None)
    peers = [
        (f"random search, full length, EMA {length:g} for all", RANDOM, fixed),
        ("random search, full length, EMA sweep", RANDOM, None),
        ("TPE, full length, EMA sweep", TPE, None),
        ("TPE, ASHA from a quarter of the length on, EMA sweep", {**TPE, **EARLY}, None),
    ]
    name = f"images to within 5% of the best score, median of {SEEDS}{note}"
    found = [(label, *_median(recorded, search, length_of)) for label, search, length_of in peers]
    return [Result(name, ours, peer, label + late, "images", peer / ours, machine()) for label, peer, late in found]


def _median(recorded: RecordedTrials, search: dict[str, Any], length: int | None) -> tuple[float, str]:
    """Of the images that searches of different seeds need, and a note on those that do not get there: these count with all they train."""
    needed = [_images_needed(recorded, {**search, "seed": seed}, length) for seed in range(SEEDS)]
    print(f"  {search} {'' if length is None else recorded.sigma_rels[length]}: {needed}", flush=True)
    late = sum(not arrived for _, arrived in needed)
    return statistics.median(images for images, _ in needed), f" ({late} of {SEEDS} not in {MOST} trials)" if late else ""


def _images_needed(recorded: RecordedTrials, search: dict[str, Any], length: int | None) -> tuple[int, bool]:
    """(images trained, whether the score was reached)."""
    fields = recorded.study.model_dump(mode="json", exclude={"search"})
    study = make_study({**fields, "search": {"trials": MOST, **search}})
    trained = 0
    with tempfile.TemporaryDirectory() as folder:
        session = Session(study, Path(folder))
        for number in itertools.count():
            proposal = session.search.suggest(f"t{number}")
            if not isinstance(proposal, dict):
                return trained, False
            curve = recorded.curve(proposal["values"])
            for place, (images, score) in enumerate(curve):
                if session.search.report(proposal["number"], images, score) and images < curve[-1][0]:
                    session.verdicts[proposal["number"]] = Verdict(STOPPED, None, (), tuple(curve[: place + 1]))
                    break
            else:
                scores = recorded.scores(proposal["values"])
                score = float(scores.min() if length is None else scores[length])
                session.verdicts[proposal["number"]] = Verdict(COMPLETE, (score,), (), tuple(curve))
            trained += images
            if session.verdicts[proposal["number"]].state == COMPLETE and score <= CLOSE * recorded.best:
                return trained, True
    raise AssertionError
