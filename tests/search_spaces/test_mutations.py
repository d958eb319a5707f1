"""Whatever stands in a study file, the answer is a study or one message."""

from __future__ import annotations

import copy
import datetime
import math
import random
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from search_spaces.study import Study, bundled_studies, make_study
from tests.conftest import tiny_fields
from trainables.errors import ConfigError

QUICKSTART = yaml.safe_load(bundled_studies()["quickstart"].read_text())
RICH = {
    "name": "rich", "base": tiny_fields(
        weighting={"kind": "uncertainty"}, timesteps={"kind": "adaptive"}, importance_base="laplace", arithmetic={"precision": "fp32"},
        network={"kind": "adm"}, target="v", label_dropout=0.1,
    ),
    "space": {"schedule.kind": ["cosine", "laplace"], "schedule.b": {"kind": "auto", "when": {"schedule.kind": "laplace"}},
              "duration.batch_size": {"low": 32, "high": 64, "step": 32}, "optimiser.lr": {"low": 1e-3, "high": 1, "log": True}},
    "search": {"sampler": {"kind": "nsga2", "population": 3}, "points": [{"optimiser.lr": 0.1}], "warm_start": ["a"], "hours": 1,
               "objectives": [{"metric": "macs"}, {"metric": "fd_probe", "direction": "minimise"}],
               "constraints": [{"metric": "macs", "at_most": 2.0, "relative": True}]},
    "sweep": {"sigma_rels": {"low": 0.05, "high": 0.2}, "times": [0.5, 1.0], "guidance_weights": [1.0]},
    "compute": {"workers": 2, "cpus_per_worker": 2, "concurrent_trials": 4},
}
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 3, 2**31, 2**63, 2**64, 10**40, -(10**40), 0.0, -0.0, 0.5, 1e-320, 1e308, -1e308, math.nan, math.inf,
    -math.inf, "", " ", "x", "auto", "none", "null", "1", "1e-3", "nan", "..", "/", "a/b", "ÿ☃𝒳", "a" * 9_999,
    "kind", "low", "../x", "cosine", "asha", "%s{}",
    [], [[]], [None], [1], [1, 1], [0.5], ["x"], [True, 1], [{}], list(range(999)), [[[[[[1]]]]]], [math.nan], [2**70],
    {}, {"kind": None}, {"kind": "x"}, {"kind": []}, {"kind": {}}, {"low": 1}, {"low": 2, "high": 1}, {"low": "a", "high": []}, {"when": 3},
    {"low": 1, "high": 2, "when": {"x": 1}}, {"choices": []}, {"choices": {}}, {1: 2}, {None: None}, {True: 1}, {"": ""}, {"a.b": 1},
    {"x": {"y": {"z": {}}}},
    {"kind": "auto", "when": 3}, {"kind": "auto", "when": {"schedule.kind": [[]]}}, {"kind": "auto", "low": 1},
    datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1), b"bytes", {1, 2},
]


NAMES = ["kind", "low", "x", "seed", "network.kind", "data.path", ".", "", "schedule", "schedule.", 3, None, "a b"]


def _places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from _places(value, (*path, key))


def _mutated(fields: dict[str, Any], drawn: random.Random) -> Any:
    """One to three places of the file with something odd in place of, beside or under a name near what is there."""
    result = copy.deepcopy(fields)
    for _ in range(drawn.choice([1, 1, 1, 2, 3])):
        path = drawn.choice(list(_places(result))[1:])
        node = result
        for key in path[:-1]:
            node = node[key]
        action, odd = drawn.randrange(5), copy.deepcopy(drawn.choice(ODD))
        if action == 0 and isinstance(node, dict):
            del node[path[-1]]
        elif action == 1 and isinstance(node, dict):
            node[drawn.choice(NAMES)] = odd
        else:
            node[path[-1]] = odd
        if len(list(_places(result))) < 2:
            return result
    return result


@pytest.mark.parametrize("fields", [QUICKSTART, RICH], ids=["quickstart", "rich"])
@pytest.mark.parametrize("seed", range(5))
def test_a_mutated_study_is_a_study_or_one_message(fields: dict[str, Any], seed: int) -> None:
    drawn = random.Random(seed)
    for _ in range(50):
        mutated = _mutated(fields, drawn)
        try:
            study = make_study(mutated)
            assert isinstance(study, Study) and study.trials_wanted >= 1 and isinstance(study.warnings, list)
        except ConfigError as error:
            assert 0 < len(str(error)) < 20_000
            assert "function-" not in str(error) and "tagged-union" not in str(error)
