"""Recipes: canonical, frozen, and clear about what is wrong."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import tiny_fields
from trainables.ema.sweep_settings import make_sweep
from trainables.errors import ConfigError
from trainables.networks.modules.build import build_denoiser
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


@pytest.mark.parametrize(("fields", "message"), [
    ({}, r"trained with and without labels, and label_dropout = 0: set it"),
    ({"label_dropout": 1}, "label_dropout = 1"),
    ({"label_dropout": 0.1, "evaluation": {"guidance": {"weight": 2, "sigma_low": 90}}}, "noise levels, 80 to"),
    ({"evaluation": {"guidance": {"weight": 2, "by": "weaker", "sigma_high": 0.001}}}, r"up to sigma_high = 0\.001"),
])
def test_guidance_that_could_have_no_meaning_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_recipe({"evaluation": {"guidance": {"weight": 2}}, **fields})


def test_sweeps_over_guidance_need_what_they_guide_by() -> None:
    with pytest.raises(ConfigError, match=r"sweep\.guidance_weights: .*label_dropout = 0"):
        make_recipe({}).check_sweep(make_sweep({"guidance_weights": [1, 2]}))
    with pytest.raises(ConfigError, match=r"sweep\.guide_sigma_rels: .*by: weaker"):
        make_recipe({"label_dropout": 0.1}).check_sweep(make_sweep({"guide_sigma_rels": [0.1]}))
    make_recipe({"label_dropout": 0.1}).check_sweep(make_sweep({"guidance_weights": [1, 2]}))
    make_recipe({}).check_sweep(make_sweep({"guidance_weights": [1]}))


def test_guidance_on_data_without_labels_is_refused() -> None:
    recipe = make_recipe({"network": tiny_fields()["network"], "label_dropout": 0.1, "evaluation": {"guidance": {"weight": 2}}})
    data = recipe.data.load()
    with pytest.raises(ConfigError, match="these data have none: use by: weaker"):
        build_denoiser(recipe, replace(data, classes=0))


@pytest.mark.parametrize(("fields", "ends"), [
    ({}, ""),  # EDM's own density and levels
    ({"schedule": {"kind": "edm_lognormal", "P_mean": -0.4, "P_std": 1.0}}, ""),  # EDM2's
    ({"schedule": "cosine"}, ""), ({"schedule": {"kind": "cosine", "log_snr_min": -8}}, "begins at sigma = 80"),
    ({"schedule": {"kind": "cosine", "log_snr_max": 9}}, r"goes down to sigma = 0\.002"),
    ({"schedule": {"kind": "laplace", "b": 0.3}}, "begins at sigma = 80.*goes down to"),
    ({"schedule": {"kind": "laplace", "b": 0.3}, "evaluation": {"sampler": {"kind": "heun", "sigma_min": 0.06, "sigma_max": 4}}}, ""),
    ({"schedule": "ddpm_linear"}, "goes down to"),
])
def test_levels_that_training_never_draws_get_a_warning(fields: dict, ends: str) -> None:
    found = " ".join(make_recipe(fields).warnings)
    assert re.search(ends, found) if ends else not found


def test_fewer_samples_than_features_get_a_warning() -> None:
    def found(**evaluation) -> list[str]:
        return make_recipe({"evaluation": {"interim_samples": 5000, **evaluation}}).warnings

    assert not found(samples=64) and not found(samples=5000, also=["inception"])
    (warning,) = found(samples=63)
    assert "evaluation.samples = 63 is less than the 64 features of fd_probe" in warning
    (warning,) = found(also=["inception"])
    assert "evaluation.samples = 1024 is less than the 2048 features of fid" in warning
    (warning,) = make_recipe({"evaluation": {"interim_samples": 10}}).warnings
    assert "evaluation.interim_samples = 10" in warning


def test_tracked_widths_have_files_of_their_own() -> None:
    """Averages of widths 0.05 and 0.05004 were written to one file."""
    with pytest.raises(ConfigError, match=r"ema\.sigma_rels.*0\.0500 for 0\.05: use others"):
        make_recipe({"ema": {"sigma_rels": [0.05, 0.05004]}})
    make_recipe({"ema": {"sigma_rels": [0.05, 0.0501]}})
