"""The studies that come with the package: they load, and the comparisons in them are what they say."""

from __future__ import annotations

import numpy as np
import pytest

from search_spaces.scales import scales_of
from search_spaces.study import Study, bundled_studies, load_study
from trainables.experts.groups import group_of
from trainables.recipe import Recipe
from trainables.stages.composition import base_recipe, expert_images, groups_of, total_images

STUDIES = [(name, scale) for name, file in bundled_studies().items() for scale in scales_of(file) or [None]]


@pytest.mark.parametrize(("name", "scale"), STUDIES)
def test_each_loads_under_its_name_at_each_of_its_scales_and_all_its_combinations_are_recipes(name: str, scale: str | None) -> None:
    study = load_study(name, scale=scale)
    first = scale in [None, *scales_of(bundled_studies()[name])[:1]]
    assert study.name == (name if first else f"{name}-{scale}") and study.description and not study.warnings
    assert not study.space or not study.feasibility.reasons
    assert not first or (study.base_recipe.data.kind == "digits" and not study.compute.gpus_per_worker)
    if study.published and study.published.values:
        assert set(study.published.values) <= {trial.variant for trial in study.design_trials}


def test_those_of_an_ablation_have_five_seeds_on_digits() -> None:
    for name in ("weightings", "min_snr_gamma", "laplace_b", "schedules", "ema_length", "timestep_policies", "edm2_ladder"):
        study = load_study(name)
        assert {trial.seed for trial in study.design_trials} == set(range(5)) and study.published, name


@pytest.fixture(scope="module")
def baselines() -> Study:
    return load_study("step_groups_baselines")


@pytest.fixture(scope="module")
def variants(baselines: Study) -> dict[str, Recipe]:
    return {trial.variant: baselines.recipe(trial.values) for trial in baselines.design_trials if trial.seed == 0}


def share_in_sampling(recipe: Recipe) -> float:
    groups, levels = groups_of(recipe), recipe.axis.evaluated
    edges = [group.levels.low for group in groups[1:]]
    return float(np.mean([groups[group_of(edges, level)].ratio for level in levels]))


def share_in_fine_tuning(recipe: Recipe) -> float:
    return float(np.mean([group.ratio for group in groups_of(recipe)]))


def test_all_variants_of_a_seed_share_one_base(baselines: Study, variants: dict[str, Recipe]) -> None:
    stepwise = [recipe for recipe in variants.values() if recipe.experts]
    assert len(baselines.design_trials) == 3 * len(variants) == 27 and len(stepwise) == 6
    assert {base_recipe(recipe).key for recipe in stepwise} == {variants["base"].key}
    longer = [recipe for name, recipe in variants.items() if name.startswith("longer")]
    assert {r.model_copy(update={"duration": variants["base"].duration}).key for r in longer} == {variants["base"].key}


def test_comparisons_are_at_equal_images_and_at_equal_compute(variants: dict[str, Recipe]) -> None:
    for name, recipe in variants.items():
        if recipe.experts:
            assert total_images(recipe) == total_images(variants["longer (equal images)"]), name
    for name in ("pruned", "groups, most for data", "groups, most for noise", "groups, searched widths"):
        recipe = variants[name]
        spent = recipe.duration.images + recipe.experts.groups * expert_images(recipe) * share_in_fine_tuning(recipe)
        assert spent == pytest.approx(total_images(variants["longer (equal compute)"]), rel=0.01), name
        assert share_in_sampling(recipe) == pytest.approx(0.8, abs=0.015), name
    assert share_in_sampling(variants["groups without pruning"]) == share_in_sampling(variants["fine-tuned"]) == 1


def test_the_search_begins_from_what_the_comparison_has(variants: dict[str, Recipe]) -> None:
    study = load_study("step_groups")
    assert base_recipe(study.base_recipe) == variants["base"]
    assert study.base_recipe.experts.split == variants["groups, most for data"].experts.split
    constraint, = study.search.constraints
    assert constraint.metric == "macs" and constraint.relative and constraint.at_most == 0.8
