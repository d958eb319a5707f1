"""Problems of settings in the words of the file, whatever pydantic calls its insides."""

from __future__ import annotations

from typing import Any

import pytest

from search_spaces.study import make_study
from trainables.errors import ConfigError


@pytest.mark.parametrize(("fields", "message"), [
    ({"sweep": {"sigma_rels": [0.5]}},
     "sweep.sigma_rels: [0.5] was given: each width must lie between 0 and 1/sqrt(12) = 0.2887; 0.5 does not."),
    ({"sweep": {"sigma_rels": 3}}, "sweep.sigma_rels: 3 was given: must be a list or a mapping of low, high, evaluations, repeats, nodes."),
    ({"sweep": {"sigma_rels": ["a"]}}, "sweep.sigma_rels.0: 'a' was given: must be a number."),
    ({"sweep": {"sigma_rels": {"low": 0.2, "high": 0.1}}}, "sweep.sigma_rels: low must be below high, and 0.2 is not below 0.1."),
    ({"sweep": {"sigma_rels": {"lo": 0.1}}},
     "sweep.sigma_rels.lo: there is no such field. Allowed: evaluations, high, low, nodes, repeats. Did you mean 'low'?"),
    ({"search": {"points": [{"seed": [1]}]}},
     "search.points.0.seed: [1] was given: must be true or false, a whole number, a number or text."),
    ({"search": {"sampler": 3}},
     "search.sampler: 3 was given: must be a mapping with one of the kinds cma_es, gp, grid, nsga2, nsga3, qmc, random, tpe."),
    ({"search": {"trials": float("nan")}}, "search.trials: nan was given: must be a finite number."),
    ({"search": {3: 1}}, "search.3: 3 was given as a name: must be text."),
    ({"space": {"optimiser.lr": {"low": "a", "high": 1}}}, "space.optimiser.lr.low: 'a' was given: must be a number."),
    ({"base": {"weighting": {"kind": "min_snr", "gama": 1}}},
     "base: weighting.gama: there is no such field. Allowed: gamma, kind. Did you mean 'gamma'?"),
    ({"base": {"importance_base": {"kind": "laplace", "b": "q"}}}, "base: importance_base.b: 'q' was given: must be a number."),
    ({"base": {"duration": {"images": 100}}},
     "base: duration.images must be a multiple of duration.batch_size = 128, and 100 is not: use 128."),
])
def test_a_problem_is_told_in_the_words_of_the_file(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_study({"name": "x", "space": {"seed": [0, 1]}, **fields})
    assert str(caught.value) == f"study: {message}"


def test_many_problems_are_cut_short() -> None:
    with pytest.raises(ConfigError) as caught:
        make_study({"name": "x", "search": {"points": list(range(999))}})
    assert len(str(caught.value).splitlines()) == 21 and "979 problems more" in str(caught.value)
