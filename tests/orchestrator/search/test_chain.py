"""Chains in the log of a search: ablation around the winner and confirmation, laid out once, resumable, and replayed."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray.tune.search import Searcher

from orchestrator.records.definition import define
from orchestrator.records.folders import StudyFolder
from orchestrator.records.stages import stages
from orchestrator.search.history import History
from orchestrator.search.replay import replay_search
from orchestrator.search.verdicts import COMPLETE, FAILED, Verdict
from search_spaces.stages import stage_design
from search_spaces.study import Study
from tests.orchestrator.search.test_search import SPACE, Session, study_of, torn_log
from tests.orchestrator.search.test_seeds import final
from trainables.errors import ConfigError, UserError

CHAIN = {"ablate": {"around": "best", "seeds": 2}, "confirm": {"top": 2, "seeds": 3}}


def chained(chain: dict | None = None, seeds: int = 1, space: dict | None = None, **fields) -> Study:
    return study_of({"trials": 4, "seeds": seeds, "sampler": "random"}, space, chain=chain or CHAIN, **fields)


def value_of(values: dict) -> tuple[float]:
    return (final({"seed": 0, "optimiser.lr": 0.02, "weighting.gamma": 4.0, **values}),)


def whole(study: Study, folder: Path) -> tuple[Session, list[dict]]:
    session = Session(study, folder)
    return session, session.run(99, value_of)


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_search_is_followed_by_its_stages(seeds: int, tmp_path: Path) -> None:
    study = chained(seeds=seeds)
    session, ran = whole(study, tmp_path)
    history = session.log.history
    ablate, confirm = history.stages
    best = min(history.proposals.values(), key=lambda p: sum(value_of({**p.values, "seed": s})[0] for s in range(seeds))).values
    assert (ablate.name, ablate.first, confirm.name, confirm.first) == ("ablate", len(history.trials), "confirm", len(history.trials) + 6)
    assert ablate.design and confirm.design and next(iter(ablate.design.variants)) == "winner"
    alone = [{"optimiser.lr": best["optimiser.lr"]}, {"weighting.gamma": best["weighting.gamma"]}]
    assert list(ablate.design.variants.values()) == [best, *alone]
    assert [trial.seed for trial in ablate.trials] == [0, 0, 0, 1, 1, 1]
    latents = {"evaluation.seed": 1}
    assert confirm.design.variants["base"] == latents and list(confirm.design.variants.values())[1] == {**best, **latents}
    assert confirm.design.seed_list == (2, 3, 4)  # none that the search or the ablation has seen
    assert len(ran) == 4 * seeds + 6 + 9 == study.trials_wanted and session.search.done
    assert not replay_search(study, session.log.events).differences
    assert [s["first"] for s in stages(StudyFolder(tmp_path))] == [ablate.first, confirm.first]


def test_a_chain_goes_on_after_a_kill_at_any_entry_of_the_log(tmp_path: Path) -> None:
    study = chained(seeds=2)
    unbroken, ran = whole(study, tmp_path / "whole")
    lines = StudyFolder(tmp_path / "whole").search_log.read_text().splitlines(keepends=True)
    for kept in range(8, len(lines), 5):
        folder = tmp_path / f"cut-{kept}"
        known = torn_log(folder, lines, kept)
        last = max(known.numbers)
        resumed = Session(study, folder, {n: v for n, v in unbroken.verdicts.items() if n < last or n in known.verdicts})
        before = len(resumed.verdicts)
        assert ran[:before] + resumed.run(99, value_of) == ran
        assert resumed.log.history.stages == unbroken.log.history.stages


def test_a_searched_choice_is_left_out_with_its_own_settings() -> None:
    space = {"schedule.kind": ["cosine", "laplace"], "schedule.b": {"low": 0.3, "high": 1.0, "when": {"schedule.kind": "laplace"}},
             "optimiser.lr": SPACE["optimiser.lr"]}
    best = {"schedule.kind": "laplace", "schedule.b": 0.5, "optimiser.lr": 0.05}
    study = chained({"ablate": {"seeds": 2}}, space=space)
    design = stage_design(study, "ablate", [best])
    assert list(design.variants.values()) == [best, {"optimiser.lr": 0.05}, {"schedule.kind": "laplace", "schedule.b": 0.5}]
    around = chained({"ablate": {"kind": "one_at_a_time", "seeds": 2}}, space=space)
    found = stage_design(around, "ablate", [best]).variants
    assert {"schedule.kind": "cosine", "optimiser.lr": 0.05} in found.values() and len(found) == 6
    assert around.stage_trials["ablate"] == (1 + 1 + 2 + 2) * 2


def test_a_search_without_a_score_has_nothing_to_confirm_and_says_so(tmp_path: Path) -> None:
    study = chained()
    session = Session(study, tmp_path)
    for _ in range(4):
        session.verdicts[session.search.suggest("t")["number"]] = Verdict(FAILED)
    assert session.search.suggest("t") == Searcher.FINISHED and session.search.done
    assert all("no proposal with a score" in stage.reason for stage in session.log.history.stages)


def test_a_stage_waits_for_the_last_result_of_the_search(tmp_path: Path) -> None:
    study = chained(compute={"concurrent_trials": 2})
    session = Session(study, tmp_path)
    proposals = [session.search.suggest(f"t{n}") for n in range(4)]
    for proposal in proposals[:3]:
        session.verdicts[proposal["number"]] = Verdict(COMPLETE, value_of(proposal["values"]))
    assert session.search.suggest("t4") is None and not session.log.history.stages
    session.verdicts[3] = Verdict(COMPLETE, value_of(proposals[3]["values"]))
    assert session.search.suggest("t4")["number"] == 4 and not session.search.report(4, 128, 1e9)


def test_a_chain_can_be_added_to_a_search_and_more_trials_only_before_it_has_begun(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    plain = study_of({"trials": 4, "sampler": "random"})
    define(plain, folder)
    session = Session(plain, tmp_path)
    session.run(99, value_of)
    define(chained(), folder)
    again = Session(chained(), tmp_path, session.verdicts)
    again.run(99, value_of)
    assert len(again.log.history.staged) == 15
    more = study_of({"trials": 9, "sampler": "random"}, chain=CHAIN)
    with pytest.raises(UserError, match=r"search\.trials: 4 -> 9 \(the chain has begun"):
        define(more, folder)


@pytest.mark.parametrize(("fields", "words"), [
    ({"chain": {}}, "a chain needs a stage"),
    ({"chain": CHAIN, "search": {"objectives": [{"metric": "fd_probe"}, {"metric": "macs"}]}}, "2 objectives have no one winner"),
    ({"chain": CHAIN, "space": {"seed": [0, 1]}}, "chain and space.seed"),
])
def test_chains_that_cannot_be_are_explained(fields: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        study_of(**{"search": {}, **fields})


def test_an_older_log_has_no_stages() -> None:
    assert History([{"event": "begun", "learnt": []}]).stages == []
