"""Whatever is combined, the mean gradient is that of the loss that the recipe means."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainables.training.combinations import MORE, PAGE, REFUSED, covering_pairs, groups, held, more, page
from tests.trainables.training.linear_toy import expected_gradient, recipe_of, train_on_toy
from trainables.errors import ConfigError

Z = 4.5
ROUNDING = {"fp32": 1e-5, "bf16": 2**-7, "fp16": 2**-10}  # of the largest expected component
PLAIN = {
    "target": "edm", "weighting": "edm", "uncertainty": "off", "schedule": "edm_lognormal", "importance_base": "none", "levels": "all",
    "timesteps": "uniform", "precision": "fp32", "micro_batch": "whole", "ranks": "one", "dropout": "none", "label_dropout": "none",
    "resume": "no",
}


def deviation(case: dict[str, str]) -> np.ndarray:
    """(mean gradient - expected one) in its own standard errors, of the network's weights and of some directions of the head's."""
    recipe, world, resume = recipe_of(case)
    trained = train_on_toy(recipe, world, resume)
    if recipe.timesteps.kind == "adaptive":
        assert not len(trained.run.inputs.draws.state()["gains"]), "steps that move nothing have no gain, and teach the policy nothing"
    expected = expected_gradient(recipe, trained.run)
    directions = np.eye(4, len(expected))
    if len(expected) > 4:
        head = np.random.default_rng(0).standard_normal((4, len(expected) - 4)) / np.sqrt(len(expected) - 4)
        directions = np.vstack([directions, np.hstack([np.zeros((4, 4)), head])])
    seen, wanted = trained.gradients @ directions.T, directions @ expected
    error = seen.std(0, ddof=1) / np.sqrt(len(seen))
    return np.abs(seen.mean(0) - wanted) / (error + ROUNDING[case["precision"]] * np.abs(wanted).max())


@pytest.mark.parametrize("case", covering_pairs(), ids=lambda case: "-".join(v for k, v in case.items() if PLAIN[k] != v))
def test_every_pair_of_settings_has_the_gradient_that_it_means(case: dict[str, str]) -> None:
    assert deviation(case).max() < Z


@pytest.mark.slow
@pytest.mark.parametrize("case", more(MORE), ids=lambda case: "-".join(v for k, v in case.items() if PLAIN[k] != v))
def test_triples_of_settings_have_the_gradient_that_they_mean(case: dict[str, str]) -> None:
    assert deviation(case).max() < Z


def test_pairs_that_mean_nothing_are_refused() -> None:
    for refused in REFUSED:
        with pytest.raises(ConfigError, match="importance_base"):
            recipe_of(PLAIN | dict(refused))


def test_the_page_says_what_is_covered() -> None:
    assert held(covering_pairs(), 2) == groups(2)
    assert page() == PAGE.read_text(), "write it anew: python -m tests.trainables.training.combinations"
