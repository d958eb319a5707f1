"""What is important among the trials that are ranked: those within the study's bounds."""

from __future__ import annotations

import math
from pathlib import Path

from orchestrator.search.importances import importances
from tests.orchestrator.search.test_search import Session, study_of


def found_of(tmp_path: Path, trials: int) -> dict[str, float]:
    """Among trials within bounds the learning rate alone matters; beyond them, where gamma is above 6, all scores are better."""
    study = study_of({"trials": trials, "sampler": "random", "constraints": [{"metric": "macs", "at_most": 1.0}]})
    session = Session(study, tmp_path)
    session.run(
        trials, lambda v: (abs(math.log(v["optimiser.lr"] / 0.02)) - 100.0 * (v["weighting.gamma"] > 6),),
        lambda v: (1.0 if v["weighting.gamma"] > 6 else -1.0,))
    session.search.tell_all()
    return {path: share for path, (share, _, _) in importances(study, session.log.history).items()}


def test_trials_beyond_a_bound_make_no_parameter_important(tmp_path: Path) -> None:
    assert found_of(tmp_path / "many", 80)["optimiser.lr"] > 0.8


def test_there_are_none_of_fewer_than_twenty_trials_within_the_bounds(tmp_path: Path) -> None:
    assert found_of(tmp_path / "few", 21) == {}
