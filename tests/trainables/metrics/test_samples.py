"""Metrics on single samples, on laws for which the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from trainables.errors import ConfigError
from trainables.metrics.features import Extracted
from trainables.metrics.frechet import FeatureStatistics, frechet_distance
from trainables.metrics.per_sample import KINDS, Compared
from trainables.metrics.per_sample.inception_score import inception_score
from trainables.metrics.per_sample.infinity import frechet_infinity
from trainables.metrics.per_sample.neighbourhoods import neighbourhoods
from trainables.recipe import make_recipe


def normal(seed: int, count: int = 1500, dim: int = 8, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((count, dim)) + shift).astype(np.float32)


def test_neighbourhoods_tell_fidelity_from_diversity() -> None:
    same = neighbourhoods(normal(0, 800), normal(1, 800))
    assert all(0.8 < same[k] < 1.2 for k in ("precision", "recall", "density", "coverage"))
    narrow = neighbourhoods(normal(0, 800) * 0.3, normal(1, 800))
    assert narrow["precision"] > 0.95 and narrow["recall"] < 0.5 and narrow["coverage"] < 0.7
    far = neighbourhoods(normal(0, 800, shift=20.0), normal(1, 800))
    assert far["precision"] == far["coverage"] == far["density"] == 0


def test_extrapolation_takes_out_most_of_the_bias() -> None:
    reference = FeatureStatistics(32).update(normal(1, 200_000, 32))
    made = normal(0, 1000, 32)
    biased = frechet_distance(FeatureStatistics(32).update(made), reference)
    assert biased > 0.2 and abs(frechet_infinity(made, reference)) < 0.15 * biased


def test_inception_score_of_certain_and_uncertain_classifiers() -> None:
    certain = np.eye(10, dtype=np.float32)[np.arange(20_000) % 10] * 50
    assert inception_score(certain)[0] == pytest.approx(10, rel=0.01)
    assert inception_score(np.zeros((1000, 10), np.float32))[0] == pytest.approx(1)


def test_names_and_choice() -> None:
    made, real = Extracted(normal(0, 300)), normal(1, 300)
    reference = FeatureStatistics(8).update(real)
    images = Compared(made, real, reference, "probe")
    found = {name: value for kind in KINDS for name, value in KINDS[kind]().of(images).items()}
    assert set(found) == {"kid_probe", "kid_probe_se", "precision_probe", "recall_probe", "density_probe", "coverage_probe",
                          "frechet_infinity_probe"}
    named = {name for kind in KINDS for name in KINDS[kind]().names("probe")}
    assert named == {name for name in found if not name.endswith("_se")} | {"memorisation_probe"}
    assert KINDS["inception_score"]().names("inception") == ("inception_score",)


def test_metrics_are_written_as_their_names() -> None:
    recipe = make_recipe({"evaluation": {"sample_metrics": ["kid", {"kind": "prdc"}]}})
    assert '"sample_metrics":["kid","prdc"]' in recipe.canonical_json
    assert recipe.evaluation.model_dump()["sample_metrics"] == ("kid", "prdc")
    assert {"kid_probe", "recall_probe"} <= recipe.metric_names and make_recipe(recipe.model_dump(mode="json")) == recipe
    with pytest.raises(ConfigError, match=r"sample_metrics.0: 'kidd' is not a known kind. Allowed: .*Did you mean 'kid'"):
        make_recipe({"evaluation": {"sample_metrics": ["kidd"]}})


def test_frechet_infinity_of_one_sample_size_is_not_a_number() -> None:
    rng = np.random.default_rng(0)
    reference = FeatureStatistics(4).update(rng.normal(size=(100, 4)))
    assert np.isnan(frechet_infinity(rng.normal(size=(5, 4)), reference))  # as many as it takes at least


def test_inception_score_is_of_logits_alone() -> None:
    features, logits = np.zeros((20, 3)), np.random.default_rng(0).normal(size=(20, 4))
    score = KINDS["inception_score"]()
    for given, names in ((None, set()), (logits, {"inception_score", "inception_score_se"})):
        assert set(score.of(Compared(Extracted(features, given), features, FeatureStatistics(3).update(features), "inception"))) == names


def test_memorisation_needs_images_that_were_held_out() -> None:
    evaluation = {"sample_metrics": ["memorisation"]}
    with pytest.raises(ConfigError, match="held_out"):
        make_recipe({"evaluation": evaluation})
    assert make_recipe({"data": {"kind": "digits", "held_out": 0.2}, "evaluation": evaluation}).metric_names > {"fd_probe"}
