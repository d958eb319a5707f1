"""Racing designs: variants that are decided at a planned look are spared, whatever is killed and in whatever order results come."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from ray.tune.search import Searcher

from orchestrator.records.definition import define
from orchestrator.records.folders import StudyFolder
from orchestrator.search.replay import replay_search
from orchestrator.search.verdicts import COMPLETE, FAILED, Verdict
from search_spaces.study import Study, make_study
from tests.conftest import tiny_fields
from tests.orchestrator.search.test_search import Session, torn_log
from trainables.errors import UserError

VARIANTS = {"edm": {}, "far": {"optimiser.lr": 0.001}, "near": {"optimiser.lr": 0.011}, "far too": {"optimiser.lr": 0.2}}
EFFECTS = {0.001: 1.0, 0.2: -1.0}


def racing(looks: list[int] | None = None, seeds: int = 6, at_once: int = 1) -> Study:
    design = {"variants": VARIANTS, "seeds": seeds, "looks": [2, 4] if looks is None else looks}
    return make_study({"name": "s", "base": tiny_fields(), "design": design, "compute": {"concurrent_trials": at_once}})


def scored(values: dict) -> tuple[float]:
    rng = np.random.default_rng([values["seed"], int(1000 * values.get("optimiser.lr", 0))])
    return (20 * math.exp(EFFECTS.get(values.get("optimiser.lr"), 0.0) + 0.3 * math.sin(values["seed"]) + rng.normal(0, 0.05)),)


def test_decided_variants_get_no_further_seeds(tmp_path: Path) -> None:
    study = racing()
    session = Session(study, tmp_path)
    ran = session.run(99, scored)
    assert session.search.done and session.search.suggest("t") == Searcher.FINISHED
    kept = [t for t in study.design_trials if t.seed < 2 or t.variant in ("edm", "near")]
    assert ran == [t.values for t in kept] and len(ran) == 2 * 4 + 4 * 2
    assert session.log.history.spared == {i for i, t in enumerate(study.design_trials) if t not in kept}
    assert not replay_search(study, session.log.events).differences


def test_a_race_ends_early_where_all_is_decided_and_not_at_all_without_looks(tmp_path: Path) -> None:
    clear = Session(racing(), tmp_path / "clear")
    assert len(clear.run(99, lambda v: (scored(v)[0] * (5 if v.get("optimiser.lr") == 0.011 else 1),))) == 8 and clear.search.done
    assert len(Session(racing([]), tmp_path / "all").run(99, scored)) == 24


def test_a_race_goes_on_after_a_kill_at_any_entry_of_the_log(tmp_path: Path) -> None:
    study = racing()
    unbroken = Session(study, tmp_path / "whole")
    ran = unbroken.run(99, scored)
    lines = StudyFolder(tmp_path / "whole").search_log.read_text().splitlines(keepends=True)
    for kept in range(14, len(lines), 3):
        folder = tmp_path / f"cut-{kept}"
        known = torn_log(folder, lines, kept)
        last = max(known.numbers)
        resumed = Session(study, folder, {n: v for n, v in unbroken.verdicts.items() if n < last or n in known.verdicts})
        before = len(resumed.verdicts)
        assert ran[:before] + resumed.run(99, scored) == ran
        assert resumed.log.history.spared == unbroken.log.history.spared


def test_a_look_waits_for_all_its_results(tmp_path: Path) -> None:
    session = Session(racing(at_once=3), tmp_path)
    begun = [session.search.suggest(f"t{n}") for n in range(8)]
    for proposal in begun[:7]:
        session.verdicts[proposal["number"]] = Verdict(COMPLETE, scored(proposal["values"]))
    assert session.search.suggest("t8") is None and not session.log.history.spared
    session.verdicts[7] = Verdict(COMPLETE, scored(begun[7]["values"]))
    assert session.search.suggest("t8")["number"] == 8 and session.search.suggest("t9")["values"]["optimiser.lr"] == 0.011
    assert session.log.history.spared == {9}


def test_a_failed_seed_decides_nothing(tmp_path: Path) -> None:
    session = Session(racing(), tmp_path)
    for number in range(99):
        proposal = session.search.suggest(f"t{number}")
        if proposal == Searcher.FINISHED:
            break
        session.verdicts[number] = Verdict(FAILED)
    assert number == 24 and not session.log.history.spared


def test_a_race_cannot_be_changed_once_it_has_begun(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    define(racing(), folder)
    with pytest.raises(UserError, match=r"the looks of a race are planned before it begins"):
        define(racing(seeds=8), folder)
    with pytest.raises(UserError, match=r"design\.looks"):
        define(racing([3]), folder)
