"""Proposals on several seeds: means, early stopping and dropping, kills, replay, failures; a seed is never ranked."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from ray.tune.search import Searcher

from orchestrator.execution.outcomes import Outcomes
from orchestrator.records.folders import StudyFolder, SweepRecord, TrialRecord
from orchestrator.search.importances import importances
from orchestrator.search.optuna_study import OptunaView
from orchestrator.search.replay import replay_search
from orchestrator.search.search_log import SearchLog
from orchestrator.search.seeds import Seeds
from orchestrator.search.verdicts import COMPLETE, FAILED, STOPPED, Verdict
from search_spaces.study import Study
from tests.orchestrator.search.test_search import Race, Session, score, study_of, torn_log
from trainables.errors import ConfigError
from trainables.metrics.means import mean_score
from trainables.randomness import normal
from trainables.training import metrics_log


def seeded_study(order: str = "reproducible", at_once: int = 1, stopping: bool = False, **search) -> Study:
    rule = {"early_stopping": {"kind": "asha", "grace_images": 128, "reduction_factor": 1.5}} if stopping else {}
    fields = {"trials": 6, "seeds": 3, "sampler": {"kind": "tpe", "startup_trials": 3}, "order": order, **rule, **search}
    return study_of(fields, compute={"concurrent_trials": at_once})


def final(values: dict) -> float:
    """A score with a seed effect and an error, both functions of the values."""
    error = normal(int(values["optimiser.lr"] * 1e9), "error", values["seed"], 1, (1,)).item()
    return math.exp(score(values) + 0.2 * values["seed"] + 0.1 * error)


class Run(Race):
    """On seeds."""

    final = staticmethod(final)


def outcome(session: Session) -> list:
    history = session.log.history
    return [(history.values_of(n), session.verdicts[n].state) for n in sorted(history.trials)] + [sorted(history.dropped)]


def test_each_proposal_is_trained_on_every_seed_and_its_mean_log_score_is_told(tmp_path: Path) -> None:
    study = seeded_study(drop_hopeless=False)
    session = Run(study, tmp_path)
    assert session.race(study, np.random.default_rng(0))
    session.search.tell_all()
    history, told = session.log.history, OptunaView(study).in_memory(session.log.history).get_trials()
    assert len(told) == 6 and len(history.trials) == 18 == study.trials_wanted and [t.state for t in told] == [COMPLETE] * 6
    for proposal, trial in zip(range(6), told, strict=True):
        values = [history.values_of(n) for n in history.trials_of[proposal]]
        assert [v["seed"] for v in values] == [0, 1, 2] and "seed" not in trial.params
        assert trial.value == pytest.approx(math.exp(np.mean([math.log(final(v)) for v in values])))
    assert importances(study, history) == {} and "seed" not in study.axes  # of six proposals, none: their 18 trials are no more


def test_importances_have_intervals_that_hold_the_truth_of_a_clear_case(tmp_path: Path) -> None:
    study = seeded_study(drop_hopeless=False, trials=24)
    session = Run(study, tmp_path)
    assert session.race(study, np.random.default_rng(0))
    session.search.tell_all()
    found = importances(study, session.log.history)
    assert set(found) == set(study.space) and sum(share for share, _, _ in found.values()) == pytest.approx(1)
    assert all(0 <= low <= share <= high <= 1 for share, low, high in found.values())
    assert all(high - low > 0.05 for _, low, high in found.values())  # 24 proposals say little
    assert importances(study, session.log.history) == found


@pytest.mark.parametrize(("order", "at_once"), [("reproducible", 1), ("reproducible", 3), ("asynchronous", 3)])
def test_a_search_with_seeds_goes_on_after_kills_at_any_moment_and_can_be_replayed(order: str, at_once: int, tmp_path: Path) -> None:
    study, outcomes = seeded_study(order, at_once, stopping=True, trials=7), []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        verdicts: dict[int, Verdict] = {}
        while not (session := Run(study, tmp_path / str(seed), verdicts)).race(study, rng, int(rng.integers(4, 25)) if seed else 10**9):
            pass
        session.search.tell_all()
        assert not replay_search(study, SearchLog(StudyFolder(tmp_path / str(seed))).events).differences
        outcomes.append(outcome(session))
        assert len(session.log.history.proposals) == 7
    if order == "reproducible":
        assert all(o == outcomes[0] for o in outcomes)
    first, again = session.log.history, Run(study, tmp_path / "2", verdicts)
    assert again.search.done and again.log.history.trials == first.trials


def test_a_kill_after_any_entry_of_the_log_changes_no_trial(tmp_path: Path) -> None:
    study = seeded_study(stopping=True, trials=6)
    whole = Run(study, tmp_path / "whole")
    whole.race(study, np.random.default_rng(0))
    lines = StudyFolder(tmp_path / "whole").search_log.read_text().splitlines(keepends=True)
    for kept in range(1, len(lines), 7):
        folder = tmp_path / f"cut-{kept}"
        known = torn_log(folder, lines, kept)
        last = len(known.trials) - 1  # was being trained; the one before it may have been swept in the meantime
        ended = {n: v for n, v in whole.verdicts.items() if n < last or n in known.verdicts}
        resumed = Run(study, folder, dict(ended))
        resumed.race(study, np.random.default_rng(kept))
        assert outcome(resumed) == outcome(whole)


def test_early_stopping_acts_on_the_first_seed_alone(tmp_path: Path) -> None:
    study = seeded_study(stopping=True, trials=9, drop_hopeless=False)
    session = Run(study, tmp_path)
    session.race(study, np.random.default_rng(0))
    session.search.tell_all()
    history = session.log.history
    stopped = [p for p, v in Seeds(study).verdicts(history).items() if v.state == STOPPED]
    assert stopped and all(len(history.trials_of[p]) == 1 for p in stopped)
    assert all(history.trials[n].seed == 0 for n, v in session.verdicts.items() if v.state == STOPPED)
    assert any(len(history.trials_of[p]) == 3 for p in history.proposals)


def test_what_is_hopeless_after_its_first_seeds_gets_no_further_ones(tmp_path: Path) -> None:
    study = seeded_study(trials=12)
    session = Run(study, tmp_path)
    session.race(study, np.random.default_rng(0))
    session.search.tell_all()
    history, found = session.log.history, Seeds(study).verdicts(session.log.history)
    assert history.dropped and all(len(history.trials_of[p]) < 3 and found[p].state == STOPPED for p in history.dropped)
    _, best = min((v.values[0], p) for p, v in found.items() if v.values)
    first = {p: final(history.values_of(trials[0])) for p, trials in history.trials_of.items()}
    for p in history.dropped:  # all of them are worse than the best one on the same seed by far
        assert first[p] > 1.3 * first[best]
        assert found[p].curve[-1][1] == pytest.approx(mean_score("fd_probe", [final(history.values_of(n)) for n in history.trials_of[p]]))
    assert not any(history.trials_of[p] for p in history.dropped if p < 2)  # nothing is dropped before the spread is known


@pytest.mark.parametrize("complete", [5, 30])
def test_of_proposals_as_good_as_the_best_few_are_dropped(complete: int) -> None:
    """By simulation: equal proposals on 3 seeds, and a further, equal one after its first seed; its share that is dropped."""
    from orchestrator.search.history import History, Proposal, proposed, repeated, told

    study, rng, dropped = seeded_study(), np.random.default_rng(0), 0
    seeds = Seeds(study)
    for _ in range(300):
        history, scores = History(), np.exp(rng.normal(0, 0.15, (complete + 1, 3)) + rng.normal(0, 0.3, 3))
        for number in range(3 * complete + 1):
            proposal, seed = divmod(number, 3)
            history.take(proposed(Proposal(proposal, {}), number, seed) if seed == 0 else repeated(number, proposal, seed))
            history.take(told(number, Verdict(COMPLETE, (float(scores[proposal, seed]),))))
        dropped += seeds.is_hopeless(history, complete)
    assert dropped / 300 < 0.025  # 1 % at most


def test_a_failed_seed_fails_its_proposal_until_it_is_tried_again(tmp_path: Path) -> None:
    study = seeded_study(trials=2, drop_hopeless=False)
    session = Session(study, tmp_path)
    while isinstance(proposal := session.search.suggest("t"), dict):
        failed = proposal["number"] == 0
        session.verdicts[proposal["number"]] = Verdict(FAILED) if failed else Verdict(COMPLETE, (final(proposal["values"]),))
    session.search.tell_all()
    history = session.log.history
    assert [len(history.trials_of[p]) for p in (0, 1)] == [1, 3] and session.search.done
    del session.verdicts[0]  # as `snrlab retry` leaves it
    again = Session(study, tmp_path, session.verdicts)
    assert not again.search.done
    first = again.search.suggest("t0")
    assert first["number"] == 0 and again.search.suggest("t1") is None  # its further seeds wait for it
    again.verdicts[0] = Verdict(COMPLETE, (final(first["values"]),))
    for number in (4, 5):
        further = again.search.suggest(f"t{number}")
        assert further["number"] == number and further["values"] == {**first["values"], "seed": number - 3}
        again.verdicts[number] = Verdict(COMPLETE, (final(further["values"]),))
    assert again.search.suggest("t") == Searcher.FINISHED
    again.search.tell_all()
    assert [v.state for v in Seeds(study).verdicts(again.log.history).values()] == [COMPLETE] * 2
    assert not replay_search(study, again.log.events).differences


def test_impossible_proposals_have_no_further_seeds(tmp_path: Path) -> None:
    space = {"duration.batch_size": [32, 64], "ema.snapshot_every": [64, 96]}  # 64 with 96 is impossible
    study = study_of({"trials": 4, "seeds": 2, "sampler": "random"}, space)
    session = Session(study, tmp_path)
    ran = session.run(40, lambda values: (1.0 + values["seed"],))
    assert len(ran) == 8 and session.impossible and session.search.done
    history = session.log.history
    assert all(len(history.trials_of[history.trials[n].proposal]) == 1 for n in session.impossible)


def test_the_budget_ends_a_search_between_seeds_and_more_of_it_goes_on(tmp_path: Path) -> None:
    study = seeded_study(trials=3, drop_hopeless=False)
    whole = Session(study, tmp_path / "whole").run(40, lambda v: (final(v),))
    session = Session(study, tmp_path / "broken")
    part = session.run(4, lambda v: (final(v),))
    session.spent = True
    assert session.run(3) == []
    assert part + Session(study, tmp_path / "broken", session.verdicts).run(40, lambda v: (final(v),)) == whole


def test_the_best_of_a_search_is_a_mean_over_seeds_and_never_a_lucky_seed(tmp_path: Path) -> None:
    study, folder = seeded_study(trials=2, drop_hopeless=False), StudyFolder(tmp_path)
    session = Session(study, tmp_path)
    session.run(40, lambda v: (1.0,))
    for number, distance in enumerate([1.0, 4.0, 9.0, 9.0, 9.0, 9.0]):
        proposal = session.log.history.trials[number].proposal
        point = {"images": 256, "distance": distance + proposal, "metrics": {"fd_probe": distance + proposal}}
        folder.trial(number).write_record(TrialRecord(number, session.log.history.values_of(number), "", "", "completed"))
        folder.trial(number).write_sweep(SweepRecord("fd_probe", [point]))
        metrics_log.append(folder.trial(number).root, {"images": 256, "time": 0.0})
    outcomes = Outcomes(study, folder, session.log.history)
    best = session.log.history.trials_of[0]
    expected = [[1.0, 4.0, 9.0, 9.0, 9.0, 9.0][n] for n in best]
    assert outcomes.tally.best == pytest.approx(mean_score("fd_probe", expected)) and outcomes.tally.best_seeds == 3


@pytest.mark.parametrize(("search", "space", "words"), [
    ({"seeds": 0}, {}, "seeds: 0 was given: use at least 1"),
    ({"seeds": [1, 1]}, {}, "each once"),
    ({"seeds": 2}, {"seed": [0, 1]}, "search.seeds and space.seed"),
])
def test_seeds_that_cannot_be_are_explained(search: dict, space: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        study_of(search, space or None)


def test_the_seeds_of_a_search_are_those_from_the_base_s_on_or_the_given_ones() -> None:
    assert seeded_study().search_seeds == (0, 1, 2) and seeded_study(seeds=[7, 3]).search_seeds == (7, 3)
    assert study_of({}).search_seeds == ()
    assert mean_score("fd_probe", [1.0, 4.0]) == pytest.approx(2.0) and mean_score("kid_probe", [-1.0, 3.0]) == 1.0
