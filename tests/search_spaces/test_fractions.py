"""Fractions of two-level factorials against the runs themselves and the sizes of the tables (Box, Hunter & Hunter 2005, table 6.22)."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from search_spaces.fractions import aliases, defining_words, fraction, generators_of
from search_spaces.study import make_study
from tests.conftest import tiny_fields
from trainables.errors import ConfigError

# (factors, resolution, runs of the smallest regular fraction)
TABLE = [(3, 3, 4), (4, 4, 8), (5, 3, 8), (5, 5, 16), (6, 3, 8), (6, 4, 16), (6, 6, 32), (7, 3, 8), (7, 4, 16), (7, 7, 64), (8, 4, 16),
         (8, 5, 64), (9, 3, 16), (9, 4, 32), (10, 4, 32), (11, 4, 32), (11, 3, 16), (12, 3, 16), (2, 3, 4), (3, 4, 8)]


@pytest.mark.parametrize(("factors", "resolution", "runs"), TABLE)
def test_the_smallest_fraction_has_the_runs_of_the_tables_and_its_resolution(factors: int, resolution: int, runs: int) -> None:
    found = fraction(factors, resolution)
    assert len(found) == len(set(found)) == runs and found[0] == (0,) * factors
    signs = 2 * np.array(found) - 1
    # No product of fewer factors than the resolution is constant, and contrasts of main effects are orthogonal.
    for n in range(1, min(resolution, factors + 1)):
        for chosen in itertools.combinations(range(factors), n):
            assert abs(signs[:, chosen].prod(axis=1).sum()) == 0, chosen
    assert (signs.T @ signs == runs * np.eye(factors)).all()


def test_words_of_the_defining_relation_are_constant_over_the_runs() -> None:
    basic, generators = generators_of(7, 4)
    signs = 2 * np.array(fraction(7, 4)) - 1
    words = defining_words(basic, generators)
    assert len(words) == 2 ** len(generators) - 1 and min(word.bit_count() for word in words) == 4
    for word in words:
        column = signs[:, [f for f in range(7) if word >> f & 1]].prod(axis=1)
        assert abs(column.sum()) == len(column)


def test_aliases_are_effects_with_the_same_column() -> None:
    for factors, resolution in ((3, 3), (5, 3), (6, 4), (5, 5)):
        signs = 2 * np.array(fraction(factors, resolution)) - 1
        columns: dict[tuple, set[int]] = {}
        for n in (1, 2):
            for chosen in itertools.combinations(range(factors), n):
                column = signs[:, chosen].prod(axis=1)
                columns.setdefault(tuple(column * column[0]), set()).add(sum(1 << f for f in chosen))
        assert {frozenset(c) for c in columns.values() if len(c) > 1} == {frozenset(c) for c in aliases(factors, resolution)}
    assert aliases(5, 5) == []


def test_a_study_has_the_runs_of_its_fraction_on_every_seed() -> None:
    factors = {"weighting.kind": ["edm", "snr"], "optimiser.lr": [0.01, 0.02], "timesteps.kind": ["uniform", "stratified"],
               "schedule.kind": ["edm_lognormal", "cosine"]}
    study = make_study({"name": "s", "base": tiny_fields(), "design": {"factors": factors, "resolution": 4, "seeds": 2}})
    assert len(study.design_trials) == 8 * 2
    full = make_study({"name": "s", "base": tiny_fields(), "design": {"factors": factors, "seeds": 2}})
    runs = {tuple(sorted((p, str(v)) for p, v in t.values.items())) for t in study.design_trials}
    assert runs < {tuple(sorted((p, str(v)) for p, v in t.values.items())) for t in full.design_trials}
    assert study.design_trials[0].values == {path: levels[0] for path, levels in factors.items()} | {"seed": 0}


@pytest.mark.parametrize(("design", "words"), [
    ({"factors": {"optimiser.lr": [0.1, 0.2, 0.3], "seed2": [1, 2]}, "resolution": 3}, "two levels each, which optimiser.lr do not have"),
    ({"factors": {"optimiser.lr": [0.1, 0.2], "label_dropout": [0.0, 0.1]}, "resolution": 2}, "use 3, 4, 5 or more"),
    ({"factors": {f"x{i}": [0, 1] for i in range(13)}, "resolution": 3}, "at most 12"),
    ({"factors": {"optimiser.lr": [0.1, 0.2]}, "resolution": math.nan}, "resolution"),
])
def test_what_has_no_fraction_is_refused(design: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_study({"name": "s", "base": tiny_fields(), "design": design})
