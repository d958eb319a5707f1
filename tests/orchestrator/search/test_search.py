"""Every sampler through the searcher that Ray Tune drives: repeatable, resumable, with objectives, constraints and starting points."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from ray.tune.search import Searcher

from orchestrator.records.definition import Definition
from orchestrator.records.folders import StudyFolder, SweepRecord, TrialRecord
from orchestrator.search import history as events
from orchestrator.search.history import History
from orchestrator.search.optuna_copy import OptunaCopy
from orchestrator.search.optuna_study import OptunaView
from orchestrator.search.replay import replay_search
from orchestrator.search.search_log import SearchLog
from orchestrator.search.searcher import StudySearch, learnt_from
from orchestrator.search.verdicts import COMPLETE, FAILED, STOPPED, Verdict, Verdicts
from search_spaces.study import Study, make_study
from tests.conftest import tiny_fields
from trainables.errors import ConfigError

SPACE = {"weighting.gamma": {"low": 1.0, "high": 20.0, "log": True}, "optimiser.lr": {"low": 0.001, "high": 0.1, "log": True}}


def study_of(search: dict, space: dict | None = None, **fields) -> Study:
    return make_study({"name": "s", "base": tiny_fields(weighting="min_snr"), "space": space or SPACE, "search": search, **fields})


def score(values: dict) -> float:
    return (math.log(values["weighting.gamma"] / 4)) ** 2 + (math.log(values["optimiser.lr"] / 0.02)) ** 2


class Session:
    """One process's part of a search, with trials that end at once."""

    def __init__(self, study: Study, folder: Path, verdicts: dict[int, Verdict] | None = None, learnt=(), curves=None) -> None:
        self.verdicts = {} if verdicts is None else verdicts
        self.spent, self.impossible = False, []
        self.log = SearchLog(StudyFolder(folder))
        if not self.log.history.begun:
            self.log.add(events.begun(learnt))
        self.search = StudySearch(study, self.log, self.verdicts, curves or {}, self)

    def wait_for(self, condition) -> bool:
        return condition()

    def budget_spent(self) -> bool:
        return self.spent

    def began(self, number: int, images: int) -> None:
        pass

    def infeasible(self, number: int, values: dict, reason: str) -> None:
        self.impossible.append(number)
        self.verdicts[number] = Verdict(FAILED, infeasible=True)

    def ended(self, number: int, lost: bool) -> None:
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
    told = OptunaView(study_of(search)).in_memory(session.log.history)
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


def test_given_points_of_a_grid_are_counted(tmp_path: Path) -> None:
    point = {"weighting.gamma": 5.0, "optimiser.lr": 0.02}
    study = study_of({"trials": 99, "sampler": {"kind": "grid", "points": 2}, "points": [point]})
    assert study.trials_wanted == len(Session(study, tmp_path / "j").run(99)) == 5


@pytest.mark.parametrize(("seeds", "broken_off"), [(5, 0), (30, 7), (30, 22)])
def test_a_design_of_any_size_is_run_to_its_last_trial(seeds: int, broken_off: int, tmp_path: Path) -> None:
    """`search.trials`, 20 unless it is given, is of searches alone."""
    design = {"variants": {"base": {}, "slow": {"optimiser.lr": 0.001}}, "seeds": seeds}
    study = make_study({"name": "s", "base": tiny_fields(), "design": design})
    session = Session(study, tmp_path)
    first = session.run(broken_off, lambda _: (0.0,))
    session = Session(study, tmp_path, session.verdicts)
    assert not session.search.done
    proposed = first + session.run(99, lambda _: (0.0,))
    assert proposed == [dict(trial.values) for trial in study.design_trials] and session.search.done
    assert len(proposed) == study.trials_wanted == 2 * seeds


def ended_trials(session: Session, macs: float = 1.0) -> list[tuple[TrialRecord, SweepRecord]]:
    """Records of a session's trials, as their folders would hold them."""
    found = []
    for number, proposal in session.log.history.proposals.items():
        (value,) = session.verdicts[number].values
        point = {"images": 1, "distance": value, "metrics": {"fd_probe": value}}
        record = TrialRecord(number, proposal.values, "", "", "completed")
        found.append((record, SweepRecord("fd_probe", [point], cost={"train_seconds": macs * proposal.values["weighting.gamma"]})))
    return found


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_what_is_learnt_counts_by_this_studys_bounds(sampler: str, tmp_path: Path) -> None:
    earlier = Session(study_of({"trials": 20}), tmp_path / "earlier")
    earlier.run(20)
    bound = {"constraints": [{"metric": "train_seconds", "at_most": 4.0}], "warm_start": ["s"]}
    study = study_of({"trials": 12, "sampler": {"kind": sampler, "startup_trials": 2}, **bound}, name="later")
    learnt = learnt_from(study, study_of({}), ended_trials(earlier))
    assert [t.excess[0] for t in learnt] == [t.values["weighting.gamma"] - 4.0 for t in learnt]
    later = Session(study, tmp_path / "later", learnt=learnt)
    proposed = later.run(12, excess_of=lambda v: (v["weighting.gamma"] - 4.0,))
    assert sum(v["weighting.gamma"] <= 4.0 for v in proposed) > 6


def test_a_bound_on_a_number_that_is_nan_is_exceeded(tmp_path: Path) -> None:
    study = study_of({"trials": 6, "constraints": [{"metric": "train_seconds", "at_most": 4.0}]})
    point = {"images": 1, "distance": 1.0, "metrics": {"fd_probe": 1.0}}
    sweep = SweepRecord("fd_probe", [point], cost={"train_seconds": math.nan})
    assert Verdicts(study).verdict(TrialRecord(0, {}, "", "", "completed"), sweep).excess == (math.inf,)


def test_an_earlier_study_is_learnt_from(tmp_path: Path) -> None:
    earlier = study_of({"trials": 30})
    session = Session(earlier, tmp_path / "earlier")
    session.run(30)
    session.search.tell_all()
    narrower = {**SPACE, "optimiser.lr": {"low": 0.005, "high": 0.1, "log": True}}
    study = study_of({"trials": 5, "warm_start": ["s"]}, narrower, name="later")
    known = learnt_from(study, earlier, ended_trials(session))
    assert 5 < len(known) < 30  # those outside the narrower range are left out
    first = Session(study, tmp_path / "later", learnt=known)
    proposed = first.run(3)
    assert list(first.verdicts) == [0, 1, 2]  # trials are numbered from 0 all the same
    assert sorted(map(score, proposed))[1] < 1.5  # TPE's model is used at once
    again = Session(study, tmp_path / "later", first.verdicts, known)
    assert len(again.run(10)) == 2
    other = study_of({"objectives": [{"metric": "macs"}]}, name="other")
    with pytest.raises(ConfigError, match="optimises fd_probe, and this one macs"):
        learnt_from(other, earlier, ended_trials(session))


def torn_log(folder: Path, lines: list[str], kept: int) -> History:
    """A new folder with so many lines of a log and half of the next; what is known of it."""
    folder.mkdir()
    StudyFolder(folder).search_log.write_text("".join(lines[:kept]) + lines[kept][: len(lines[kept]) // 2])
    return SearchLog(StudyFolder(folder)).history


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: s if isinstance(s, str) else s["kind"])
def test_a_kill_after_any_entry_of_the_log_changes_no_proposal(sampler, tmp_path: Path) -> None:
    point = {"weighting.gamma": 5.0, "optimiser.lr": 0.02}
    study = study_of({"trials": 9, "sampler": sampler, "points": [point]})
    whole = Session(study, tmp_path / "whole")
    unbroken = whole.run(20)
    lines = StudyFolder(tmp_path / "whole").search_log.read_text().splitlines(keepends=True)
    for kept in range(0, len(lines), 3):
        folder = tmp_path / f"cut-{kept}"
        known = torn_log(folder, lines, kept)
        ended = {n: v for n, v in whole.verdicts.items() if n in known.proposals and (n < len(known.proposals) - 1 or n in known.verdicts)}
        resumed = Session(study, folder, ended)
        proposed = [known.proposals[n].values for n in sorted(ended)] + resumed.run(20)
        assert proposed == unbroken


def stopping_study(order: str, at_once: int) -> Study:
    stopping = {"kind": "asha", "grace_images": 128, "reduction_factor": 1.5}
    search = {"trials": 14, "sampler": {"kind": "tpe", "startup_trials": 3}, "early_stopping": stopping, "order": order}
    return study_of(search, compute={"concurrent_trials": at_once})


class Race(Session):
    """Trials of two reports each, in an arbitrary order of events."""

    final = staticmethod(score)  # of a trial's values

    def race(self, study: Study, rng, kill_after: int = 10**9) -> bool:
        """Whether the search came to its end before the kill."""
        running: dict[int, dict] = {}
        for event in range(10**5):
            if event >= kill_after:
                return False
            if len(running) < study.compute.concurrent_trials:
                proposal = self.search.suggest(f"t{event}")
                if isinstance(proposal, dict):
                    running[proposal["number"]] = {**proposal, "images": proposal["decided"]}
                    continue
                if not running:
                    assert proposal == Searcher.FINISHED and self.search.done
                    return True
            number = sorted(running)[rng.integers(len(running))]
            trial = running[number]
            curve = [self.final(trial["values"]) + 300 / images for images in (128, 256)]
            trial["images"] = min(trial["images"] + 128, 256)
            stops = self.search.report(number, trial["images"], curve[trial["images"] // 128 - 1])
            if stops or trial["images"] == 256:
                whole = trial["images"] == 256
                reported = tuple(zip((128, 256), curve, strict=True))[: trial["images"] // 128]
                scores = (self.final(trial["values"]),) if whole else None
                self.verdicts[number] = Verdict(COMPLETE if whole else STOPPED, scores, (), reported)
                del running[number]
        raise AssertionError("endless")


def test_the_reproducible_order_gives_the_same_search_whatever_the_order_of_events_and_kills(tmp_path: Path) -> None:
    import numpy as np

    study, outcomes = stopping_study("reproducible", 3), []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        verdicts: dict[int, Verdict] = {}
        while not (session := Race(study, tmp_path / str(seed), verdicts)).race(study, rng, int(rng.integers(5, 30)) if seed else 10**9):
            pass
        history = session.log.history
        outcomes.append([(history.proposals[n].values, verdicts[n].state) for n in range(14)])
    assert all(o == outcomes[0] for o in outcomes) and {state for _, state in outcomes[0]} == {COMPLETE, STOPPED}


def test_the_asynchronous_order_never_waits_and_can_be_replayed(tmp_path: Path) -> None:
    import numpy as np

    study = stopping_study("auto", 3)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        verdicts: dict[int, Verdict] = {}
        while not (session := Race(study, tmp_path / str(seed), verdicts)).race(study, rng, int(rng.integers(5, 30)) if seed else 10**9):
            pass
        session.search.tell_all()
        again = replay_search(study, SearchLog(StudyFolder(tmp_path / str(seed))).events)
        assert again.proposals == 14 and again.decisions >= 14 and not again.differences
    changed = [dict(e) for e in session.log.events]
    for event in changed:
        if event["event"] == "proposed" and event["trial"] == 9:
            event["values"] = {**event["values"], "optimiser.lr": 0.05}
        if event["event"] == "reported" and event["trial"] == 11:
            event["stops"] = not event["stops"]
    assert {d.split(":")[0] for d in replay_search(study, changed).differences} == {"trial 9", "trial 11"}


def test_optuna_knows_of_a_stopped_trial_all_that_it_reported(tmp_path: Path) -> None:
    session = Session(study_of({"trials": 3}), tmp_path)
    session.run(1)
    session.verdicts[0] = Verdict(STOPPED, None, (), ((128, 9.0), (256, 4.0)))
    session.search.tell_all()
    (trial,) = OptunaView(study_of({})).in_memory(session.log.history).get_trials()
    assert trial.state == STOPPED and trial.intermediate_values == {128: 9.0, 256: 4.0}


def test_impossible_combinations_cost_nothing_and_the_sampler_is_told(tmp_path: Path) -> None:
    space = {"duration.batch_size": [32, 64], "ema.snapshot_every": [64, 96]}
    study = study_of({"trials": 6, "sampler": "random"}, space)
    session = Session(study, tmp_path)
    ran = session.run(20, lambda values: (1.0,))
    assert len(ran) == 6 and session.impossible and {"duration.batch_size": 64, "ema.snapshot_every": 96} not in ran
    assert all(session.log.history.verdicts[n].state == FAILED for n in session.impossible if n in session.log.history.verdicts)
    assert not replay_search(study, session.log.events).differences
    grid = Session(study_of({"trials": 99, "sampler": {"kind": "grid"}}, space), tmp_path / "grid")
    assert len(grid.run(99, lambda values: (1.0,))) == 3 and len(grid.impossible) == 1 and grid.search.done


@pytest.mark.parametrize("sampler", ["gp", "tpe", "nsga2"])
def test_no_sampler_insists_on_an_impossible_combination(sampler: str, tmp_path: Path) -> None:
    space = {"duration.batch_size": [32, 64], "ema.snapshot_every": [64, 96], "optimiser.lr": SPACE["optimiser.lr"]}
    session = Session(study_of({"trials": 16, "sampler": sampler}, space), tmp_path)
    # The less, the better: the impossible corner looks the most promising.
    ran = session.run(99, lambda v: (v["optimiser.lr"] - v["duration.batch_size"] - v["ema.snapshot_every"],))
    assert len(ran) == 16 and len(session.impossible) <= 16


def test_a_decision_to_stop_is_asked_for_again_until_the_trial_has_stopped(tmp_path: Path) -> None:
    study = stopping_study("reproducible", 1)
    session = Session(study, tmp_path)
    for number, value in enumerate((1.0, 9.0)):
        assert session.search.suggest(f"t{number}")["decided"] == 0
        assert not session.search.report(number, 64, value)
        stops = session.search.report(number, 128, value)
    assert stops and session.log.history.reached[1] == 128
    again = Session(study, tmp_path, {0: Verdict(COMPLETE, (1.0,))})
    proposal = again.search.suggest("again")
    assert proposal["number"] == 1 and proposal["decided"] == 64 and again.search.report(1, 128, 9.0)


def test_scores_that_a_kill_kept_out_of_the_log_are_heard_before_the_next_trial(tmp_path: Path) -> None:
    study = stopping_study("reproducible", 1)
    session = Session(study, tmp_path)
    session.search.suggest("t0")
    resumed = Session(study, tmp_path, {0: Verdict(COMPLETE, (1.0,))}, curves={0: [(128, 5.0), (256, 1.0)]})
    assert resumed.log.history.stops == {(0, 128): False, (0, 256): False}
    resumed.search.suggest("t1")
    assert resumed.search.report(1, 128, 9.0)


def test_optunas_copy_is_written_from_the_log_whatever_happened_to_it(tmp_path: Path) -> None:
    study, folder = study_of({"trials": 5}), StudyFolder(tmp_path)
    session = Session(study, tmp_path)
    session.run(5)
    session.search.tell_all()

    def copied() -> list:
        copy = OptunaCopy(folder, Definition(study, "0"))
        copy.update(session.log.history)
        copy.update(session.log.history)
        return [(t.number, t.state, t.params, t.values) for t in copy.load().get_trials()]

    expected = copied()
    assert [t[0] for t in expected] == list(range(5)) and all(t[1] == COMPLETE for t in expected)
    whole = folder.journal.read_bytes()
    for damage in (whole[: len(whole) // 2], b"", whole[:-7], b"\xff" * 50, whole.replace(b"gamma", b"gumma")):
        folder.journal.write_bytes(damage)
        assert copied() == expected
    session.verdicts[2] = Verdict(FAILED)
    session.search.tell_all()
    assert copied()[2][1] == FAILED  # a verdict that was changed by a retry


def test_a_log_that_lacks_trials_is_refused(tmp_path: Path) -> None:
    from trainables.errors import UserError

    session = Session(study_of({"trials": 3}), tmp_path)
    session.run(3)
    folder = StudyFolder(tmp_path)
    folder.trial(2).write_record(TrialRecord(2, {}, "", ""))
    lines = folder.search_log.read_text().splitlines(keepends=True)
    folder.search_log.write_text("".join(lines[:2]))
    with pytest.raises(UserError, match=r"search\.jsonl: knows nothing of trial 2.*move the folder"):
        SearchLog(folder)


def test_no_trial_begins_when_the_budget_is_spent(tmp_path: Path) -> None:
    session = Session(study_of({"trials": 9}), tmp_path / "j")
    assert len(session.run(3)) == 3
    session.spent = True
    assert session.run(3) == []


def test_more_trials_can_be_asked_for_after_impossible_ones(tmp_path: Path) -> None:
    space = {"duration.batch_size": [32, 64], "ema.snapshot_every": [64, 96]}  # 64 with 96 is impossible
    zero = lambda _: (0.0,)  # noqa: E731
    first = Session(study_of({"trials": 6, "sampler": "random"}, space), tmp_path / "raised")
    assert len(first.run(99, zero)) == 6 and first.impossible
    more = study_of({"trials": 12, "sampler": "random"}, space)
    later = Session(more, tmp_path / "raised", first.verdicts).run(99, zero)
    assert len(later) == 6 and Session(more, tmp_path / "at-once").run(99, zero)[6:] == later


def test_relative_bounds_refer_to_the_base() -> None:
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
