"""How many trials a chain may have."""

from __future__ import annotations

import pytest

from search_spaces.chain import Chain
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
