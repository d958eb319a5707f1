"""Recipes: canonical, frozen, and clear about what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import tiny_fields
from trainables.errors import ConfigError
from trainables.recipe import Recipe, load_recipe, make_recipe


def test_key_depends_on_meaning_alone() -> None:
    one = make_recipe({"weighting": {"kind": "min_snr", "gamma": 5}, "schedule": "laplace"})
    same = make_recipe({"schedule": {"b": 0.5, "kind": "laplace"}, "weighting": {"gamma": "5.0", "kind": "min_snr"}})
    assert one.key == same.key and one == same and len(one.key) == 64
    assert make_recipe({"seed": 1}).key != make_recipe({}).key
    assert make_recipe({"seed": 1}).variant_key == make_recipe({}).variant_key


def test_canonical_json_makes_the_same_recipe() -> None:
    recipe = make_recipe(tiny_fields())
    assert Recipe.model_validate_json(recipe.canonical_json) == recipe


@pytest.mark.parametrize(("fields", "words"), [
    ({"wieghting": 1}, ["wieghting", "no such field", "Did you mean 'weighting'"]),
    ({"weighting": "minsnr"}, ["weighting", "'minsnr'", "Allowed:", "Did you mean 'min_snr'"]),
    ({"weighting": {"kind": "min_snr", "gama": 3}}, ["weighting.gama", "Did you mean 'gamma'"]),
    ({"weighting": {"kind": "min_snr", "gamma": 0}}, ["weighting.gamma", "0 was given", "greater than 0"]),
    ({"optimiser": {"lr": float("nan")}}, ["optimiser.lr", "nan was given", "finite"]),
    ({"schedule": {"b": 1}}, ["schedule", "needs a 'kind'", "laplace"]),
    ({"duration": {"images": 1000, "batch_size": 128}}, ["duration.images", "multiple of duration.batch_size", "896 or 1024"]),
    ({"ema": {"sigma_rels": [0.3]}}, ["ema", "1/sqrt(12)", "0.3"]),
    ({"evaluation": {"sampler": {"kind": "heun", "steps": 3}}}, ["evaluation.sampler.steps", "num_steps"]),
    ({"network": {"kind": "edm2", "chanels": 3}}, ["network.chanels", "Did you mean 'channels'"]),
])
def test_errors_name_field_value_and_remedy(fields: dict, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        make_recipe(fields)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(("text", "words"), [
    ("a: [1, 2", "line 1"), ("seed: 1\nseed: 2", "given twice"), ("- 1", "must be a mapping"), ("", "must be a mapping"),
])
def test_bad_files_are_one_message(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_recipe(tmp_path / "recipe.yaml")
    with pytest.raises(ConfigError, match="No such file"):
        load_recipe(tmp_path / "missing.yaml")


def test_a_number_written_as_1e_minus_3_is_a_number(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("optimiser: {lr: 1e-3}")  # YAML 1.1 reads a text here
    assert load_recipe(tmp_path / "recipe.yaml").optimiser.lr == 0.001


def test_unconditional_training_refuses_what_needs_labels() -> None:
    with pytest.raises(ConfigError, match=r"label_dropout = 0.1 has no labels"):
        make_recipe({"conditional": False, "label_dropout": 0.1})
    with pytest.raises(ConfigError, match=r"guides with labels.*use by: weaker"):
        make_recipe({"conditional": False, "evaluation": {"guidance": {"weight": 2.0}}})
    assert not make_recipe({"conditional": False, "evaluation": {"guidance": {"weight": 2.0, "by": "weaker"}}}).conditional
