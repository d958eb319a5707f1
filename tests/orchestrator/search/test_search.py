"""Every sampler through the searcher that Ray Tune drives: repeatable, resumable, with objectives, constraints and starting points."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from ray.tune.search import Searcher

from orchestrator.records.definition import Definition
from orchestrator.records.folders import StudyFolder
from orchestrator.search.searcher import StudySearch, learnt_from
from orchestrator.search.storage import SearchState, open_state
from orchestrator.search.verdicts import COMPLETE, Verdict, Verdicts
from search_spaces.study import Study, make_study
from tests.conftest import tiny_fields
from trainables.errors import ConfigError

SPACE = {"weighting.gamma": {"low": 1.0, "high": 20.0, "log": True}, "optimiser.lr": {"low": 0.001, "high": 0.1, "log": True}}


def study_of(search: dict, space: dict | None = None, **fields) -> Study:
    return make_study({"name": "s", "base": tiny_fields(weighting="min_snr"), "space": space or SPACE, "search": search, **fields})


def score(values: dict) -> float:
    return (math.log(values["weighting.gamma"] / 4)) ** 2 + (math.log(values["optimiser.lr"] / 0.02)) ** 2


def state_of(study: Study, place: Path) -> SearchState:
    return open_state(StudyFolder(place), Definition(study, "0"))


class Session:
    """One process's part of a search, with trials that end at once."""

    def __init__(self, study: Study, journal: Path, verdicts: dict[int, Verdict] | None = None, known=()) -> None:
        self.verdicts = {} if verdicts is None else verdicts
        self.spent = False
        self.search = StudySearch(study, state_of(study, journal), self.verdicts, set(), self, known)

    def wait_for(self, condition) -> bool:
        return condition()

    def budget_spent(self) -> bool:
        return self.spent

    def began(self, number: int) -> None:
        pass

    def reported(self, result: dict) -> None:
        pass

    def ended(self, number: int, lost: bool) -> None:
        pass

    def look_around(self) -> None:
        pass

    def run(self, count: int, values_of=lambda values: (score(values),), excess_of=lambda values: ()) -> list[dict]:
        proposed = []
        for _ in range(count):
            proposal = self.search.suggest(f"t{len(self.verdicts)}-{len(proposed)}")
            if proposal == Searcher.FINISHED:
                break
            proposed.append(proposal["values"])
            self.verdicts[proposal["number"]] = Verdict(COMPLETE, values_of(proposal["values"]), excess_of(proposal["values"]))
        return proposed


SAMPLERS = [
    {"kind": "tpe", "startup_trials": 4}, {"kind": "gp", "startup_trials": 10}, {"kind": "cma_es", "population": 4},
    {"kind": "nsga2", "population": 4}, {"kind": "nsga3", "population": 4}, "qmc", "random", {"kind": "grid", "points": 4},
]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: s if isinstance(s, str) else s["kind"])
def test_a_search_can_be_repeated_and_goes_on_after_a_break(sampler, tmp_path: Path) -> None:
    study = study_of({"trials": 13, "sampler": sampler})
    unbroken = Session(study, tmp_path / "a").run(20)
    assert len(unbroken) == 13
    assert Session(study, tmp_path / "b").run(20) == unbroken
    first = Session(study, tmp_path / "c")
    parts = first.run(6)
    assert parts + Session(study, tmp_path / "c", first.verdicts).run(20) == unbroken
    assert Session(study_of({"trials": 13, "sampler": sampler, "seed": 1}), tmp_path / "d").run(20) != unbroken


@pytest.mark.parametrize("kind", ["tpe", "cma_es"])
def test_samplers_that_learn_beat_random(kind: str, tmp_path: Path) -> None:
    ours = Session(study_of({"trials": 40, "sampler": kind}), tmp_path / "ours").run(40)
    theirs = Session(study_of({"trials": 40, "sampler": "random"}), tmp_path / "random").run(40)
    assert sorted(map(score, ours[20:]))[10] < 0.5 * sorted(map(score, theirs[20:]))[10]  # medians of the second half


def test_a_grid_visits_every_combination_once(tmp_path: Path) -> None:
    space = {"weighting.gamma": {"low": 1.0, "high": 16.0, "log": True}, "schedule.kind": ["cosine", "laplace"]}
    study = study_of({"trials": 50, "sampler": {"kind": "grid", "points": 3}}, space)
    visited = Session(study, tmp_path / "j").run(50, lambda _: (0.0,))
    combinations = {(gamma, schedule) for gamma in (1, 4, 16) for schedule in ("cosine", "laplace")}
    assert {(round(v["weighting.gamma"], 9), v["schedule.kind"]) for v in visited} == combinations
    assert len(visited) == 6
    with pytest.raises(ConfigError, match="without conditions"):
        condition = {"low": 0.3, "high": 1, "when": {"schedule.kind": "laplace"}}
        study_of({"sampler": "grid"}, {"schedule.kind": ["cosine", "laplace"], "schedule.b": condition})


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "gp"])
def test_several_objectives_and_constraints(sampler: str, tmp_path: Path) -> None:
    search = {"trials": 16, "sampler": sampler, "objectives": [{"metric": "fd_probe"}, {"metric": "macs"}],
              "constraints": [{"metric": "train_seconds", "at_most": 5}]}
    session = Session(study_of(search), tmp_path / "j")
    session.run(16, lambda v: (score(v), v["optimiser.lr"]), lambda v: (v["weighting.gamma"] - 10,))
    session.search.tell_all()
    told = session.search._optuna
    assert len(told.best_trials) >= 1 and all(len(t.values) == 2 for t in told.get_trials())
    assert all(t.params["weighting.gamma"] <= 10 for t in told.best_trials)


def test_given_points_come_first(tmp_path: Path) -> None:
    point = {"weighting.gamma": 5.0, "optimiser.lr": 0.02}
    study = study_of({"trials": 3, "points": [point, {**point, "weighting.gamma": 2.0}]})
    proposed = Session(study, tmp_path / "j").run(3)
    assert [p["weighting.gamma"] for p in proposed[:2]] == [5.0, 2.0] and proposed[0] == point
    with pytest.raises(ConfigError, match=r"search\.points\[0\]: 'weighting.gama' is not searched.*weighting\.gamma"):
        study_of({"points": [{"weighting.gama": 1}]})


def test_a_grid_ends_with_its_last_point(tmp_path: Path) -> None:
    session = Session(study_of({"trials": 99, "sampler": {"kind": "grid", "points": 2}}), tmp_path / "j")
    proposed = session.run(99)
    session.search.tell_all()
    assert len({tuple(p.values()) for p in proposed}) == len(proposed) == 4


def test_an_earlier_study_is_learnt_from(tmp_path: Path) -> None:
    earlier = study_of({"trials": 30})
    session = Session(earlier, tmp_path / "earlier")
    session.run(30)
    session.search.tell_all()
    narrower = {**SPACE, "optimiser.lr": {"low": 0.005, "high": 0.1, "log": True}}
    study = study_of({"trials": 5, "warm_start": ["s"]}, narrower, name="later")
    known = learnt_from(study, earlier, state_of(earlier, tmp_path / "earlier"))
    assert 5 < len(known) < 30  # those outside the narrower range are left out
    first = Session(study, tmp_path / "later", known=known)
    proposed = first.run(3)
    assert list(first.verdicts) == [0, 1, 2]  # trials are numbered from 0 all the same
    assert sorted(map(score, proposed))[1] < 1.5  # TPE's model is used at once
    again = Session(study, tmp_path / "later", first.verdicts, known)
    assert len(again.run(10)) == 2
    other = study_of({"objectives": [{"metric": "macs"}]}, name="other")
    with pytest.raises(ConfigError, match="optimises fd_probe, and this one macs"):
        learnt_from(other, earlier, state_of(earlier, tmp_path / "earlier"))


def test_no_trial_begins_when_the_budget_is_spent(tmp_path: Path) -> None:
    session = Session(study_of({"trials": 9}), tmp_path / "j")
    assert len(session.run(3)) == 3
    session.spent = True
    assert session.run(3) == []


def test_relative_bounds_refer_to_the_base() -> None:
    from orchestrator.records.folders import SweepRecord, TrialRecord
    from trainables.evaluation.cost import network_cost

    study = study_of({"constraints": [{"metric": "macs", "at_most": 0.8, "relative": True}]})
    base = network_cost(study.base_recipe)
    assert base["parameters"] > 1000 and base["macs"] > 10 * base["parameters"]
    point = {"sigma_rel": 0.1, "images": 1, "distance": 3.0, "metrics": {"fd_probe": 3.0}}
    for share, feasible in ((0.7, True), (0.9, False)):
        sweep = SweepRecord("fd_probe", [point], cost={**base, "macs": share * base["macs"]})
        assert Verdicts(study).verdict(TrialRecord(0, {}, "", "", training="completed"), sweep).feasible is feasible


@pytest.mark.parametrize(("search", "words"), [
    ({"sampler": "bayes"}, ["search.sampler", "bayes", "tpe"]),
    ({"early_stopping": "pbt"}, ["out of scope"]),
    ({"objectives": [{"metric": "fid"}]}, ["metric 'fid'", "fd_probe"]),
    ({"objectives": [{"metric": "macs"}, {"metric": "macs"}]}, ["given once"]),
    ({"sampler": "cma_es", "objectives": [{"metric": "macs"}, {"metric": "fd_probe"}]}, ["cma_es takes one objective"]),
    ({"constraints": [{"metric": "fd_probe", "at_most": 1, "relative": True}]}, ["only macs and parameters"]),
    ({"early_stopping": {"kind": "median", "grace_images": 100}}, ["grace_images", "multiple"]),
])
def test_impossible_searches_are_explained(search: dict, words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        study_of(search)
    for word in words:
        assert word in str(error.value)
