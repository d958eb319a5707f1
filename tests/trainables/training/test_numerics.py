"""Numbers that must not change unnoticed, because results that were kept are compared with new ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.trainables.training import trace
from trainables.metrics import probe
from trainables.stage_key import NUMERICS

STORED = json.loads(trace.STORED.read_text())
ANEW = "python -m tests.trainables.training.trace"
# Ten times what instruction sets of one CPU differ by (1e-6 at most; a rounded pixel in scores), far below any change of a formula.
TOLERANCE = {"losses": 1e-5, "averages": 1e-5, "scores": 1e-3}


@pytest.mark.parametrize("name", sorted(trace.RECIPES))
def test_training_gives_the_stored_numbers(name: str, tmp_path: Path) -> None:
    if STORED["numerics"] != NUMERICS:
        pytest.fail(f"the stored trace is of NUMERICS = {STORED['numerics']}: store it anew with {ANEW}")
    found = trace.trace(name, tmp_path)
    for what, expected in STORED["traces"][name].items():
        error = np.max(np.abs(np.subtract(found[what], expected))) / np.max(np.abs(expected))
        if error > TOLERANCE[what]:
            pytest.fail(
                f"{name}: {what} differ from the stored ones by {error:.1e}. If that is wanted, raise NUMERICS in trainables/stage_key.py, "
                f"so that no study takes over training of the version before, and store the numbers anew: {ANEW} (a change in one "
                "method's own file needs no new NUMERICS: the file is in the keys of the runs that use it)"
            )


def test_the_probe_gives_the_stored_features(tmp_path: Path) -> None:
    if STORED["probe"]["version"] != probe.VERSION:
        pytest.fail(f"the stored features are of VERSION = {STORED['probe']['version']} of the probe: store them anew with {ANEW}")
    expected = np.array(STORED["probe"]["features"])
    error = np.max(np.abs(trace.probe_features(tmp_path) - expected)) / np.max(expected)
    if error > 1e-4:
        pytest.fail(
            f"features of the probe differ from the stored ones by {error:.1e}. If that is wanted, raise VERSION in "
            f"trainables/metrics/probe.py, so that no cached probe of the version before is used, and store them anew: {ANEW}"
        )
