"""How many trials a chain may have."""

from __future__ import annotations

import pytest

from search_spaces.chain import Chain
from search_spaces.stages import stage_design
from search_spaces.study import Study, make_study
from tests.conftest import tiny_fields

SPACE = {
    "schedule.kind": ["edm_lognormal", "cosine", "laplace"], "schedule.b": {"low": 0.3, "high": 1.0, "when": {"schedule.kind": "laplace"}},
    "optimiser.lr": {"low": 0.001, "high": 0.1, "log": True},
}


def study_of(chain: dict) -> Study:
    return make_study({"name": "s", "base": tiny_fields(), "space": SPACE, "search": {"trials": 7}, "chain": chain})


@pytest.mark.parametrize(("chain", "wanted"), [
    ({"ablate": {"seeds": 2}}, {"ablate": 3 * 2}),  # the winner, and without each choice that has no condition
    ({"ablate": {"kind": "one_at_a_time", "seeds": 2}}, {"ablate": (1 + 2 + 2 + 2) * 2}),
    ({"confirm": {"top": 2, "seeds": 5}}, {"confirm": 3 * 5}),  # beside the base
    ({"ablate": {"seeds": 3}, "confirm": {"top": 1, "seeds": 2}}, {"ablate": 9, "confirm": 4}),
])
def test_stages_have_at_most_so_many_trials(chain: dict, wanted: dict) -> None:
    study = study_of(chain)
    assert study.chain is not None and study.chain.most_trials(study.space) == study.stage_trials == wanted
    assert study.trials_wanted == 7 + sum(wanted.values())


def test_a_chain_without_a_stage_is_none() -> None:
    with pytest.raises(ValueError, match="needs a stage"):
        Chain()


WINNER = {"schedule.kind": "laplace", "schedule.b": 0.5, "optimiser.lr": 0.015}


def test_an_ablation_takes_each_choice_back_with_what_is_searched_only_under_it() -> None:
    design = stage_design(study_of({"ablate": {"seeds": 2}}), "ablate", [WINNER, {"optimiser.lr": 0.1}])
    assert list(design.variants.values()) == [WINNER, {"optimiser.lr": 0.015}, {"schedule.kind": "laplace", "schedule.b": 0.5}]
    assert design.seeds == (0, 1)


def test_an_ablation_one_at_a_time_has_other_choices_and_a_quarter_of_each_range() -> None:
    design = stage_design(study_of({"ablate": {"kind": "one_at_a_time"}}), "ablate", [WINNER])
    found = list(design.variants.values())
    assert found[0] == WINNER and len(found) == 1 + 2 + 2 + 2
    assert [v["schedule.kind"] for v in found[1:3]] == ["edm_lognormal", "cosine"] and all("schedule.b" not in v for v in found[1:3])
    assert [round(v["schedule.b"], 3) for v in found[3:5]] == [0.325, 0.675]  # 0.5 -+ 0.25 * 0.7
    assert [v["optimiser.lr"] for v in found[5:]] == pytest.approx([0.015 * 10**-0.5, 0.015 * 10**0.5])


def test_a_confirmation_has_the_base_and_the_best_on_seeds_and_latents_of_its_own() -> None:
    study = study_of({"ablate": {"seeds": 3}, "confirm": {"seeds": 2}})
    ranked = [{"optimiser.lr": lr} for lr in (0.015, 0.02, 0.03, 0.04)]
    design = stage_design(study, "confirm", ranked)
    assert study.chain is not None and study.chain.confirm is not None and study.chain.confirm.top == 3
    assert [v.get("optimiser.lr") for v in design.variants.values()] == [None, 0.015, 0.02, 0.03] and design.seeds == (3, 4)
    assert {v["evaluation.seed"] for v in design.variants.values()} == {study.base_recipe.evaluation.seed + 1}


def test_a_proposal_that_is_the_base_is_not_trained_twice() -> None:
    design = stage_design(study_of({"confirm": {}}), "confirm", [{"optimiser.lr": 0.015}, {"optimiser.lr": 0.01}])  # the base's own
    assert len(design.variants) == 2
