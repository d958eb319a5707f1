"""Designs: what they train, in which order, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from search_spaces.study import Study, make_study
from tests.conftest import tiny_fields
from trainables.errors import ConfigError


def study_of(design: dict, **fields) -> Study:
    return make_study({"name": "s", "base": tiny_fields(), "design": design, **fields})


def names(study: Study) -> list[str]:
    return list(dict.fromkeys(trial.variant for trial in study.design_trials))


VARIANTS = {"edm": {}, "min_snr": {"weighting": {"kind": "min_snr", "gamma": 3}}, "p2": {"weighting": "p2", "optimiser.lr": 0.02}}


def test_variants_are_trained_seed_by_seed() -> None:
    study = study_of({"variants": VARIANTS, "seeds": 2})
    assert [(t.variant, t.seed) for t in study.design_trials] == [(v, s) for s in (0, 1) for v in VARIANTS]
    assert study.trials_wanted == study.most_proposals == 6 and study.axes == ["seed", "weighting.kind", "weighting.gamma", "optimiser.lr"]
    recipes = [study.recipe(trial.values) for trial in study.design_trials]
    assert [r.seed for r in recipes] == [0, 0, 0, 1, 1, 1] and [r.weighting.kind for r in recipes[:3]] == ["edm", "min_snr", "p2"]
    assert recipes[1].weighting.gamma == 3 and recipes[2].optimiser.lr == 0.02  # type: ignore[attr-defined]
    assert recipes[0].variant_key == recipes[3].variant_key


def test_seeds_may_be_named() -> None:
    assert [t.seed for t in study_of({"variants": VARIANTS, "seeds": [7, 9]}).design_trials[::3]] == [7, 9]


def test_one_at_a_time_changes_one_value_of_the_base() -> None:
    study = study_of({"values": {"weighting.kind": ["snr", "p2"], "optimiser.lr": [0.02]}, "seeds": 1})
    assert names(study) == ["base", "weighting=snr", "weighting=p2", "lr=0.02"]
    assert [t.values for t in study.design_trials][3] == {"optimiser.lr": 0.02, "seed": 0}


COMPONENTS = {"laplace": {"schedule": "laplace"}, "snr": {"weighting": "snr"}, "lr": {"optimiser.lr": 0.02}}


def test_leaving_one_out_takes_each_from_all() -> None:
    study = study_of({"components": COMPONENTS, "seeds": 1})
    assert names(study) == ["all", "without laplace", "without snr", "without lr"]
    recipe = study.recipe(study.design_trials[2].values)
    assert (recipe.schedule.kind, recipe.weighting.kind, recipe.optimiser.lr) == ("laplace", "edm", 0.02)


def test_each_row_of_a_ladder_adds_to_the_one_before() -> None:
    study = study_of({"rows": {"A": {}, "B": {"weighting": {"kind": "min_snr", "gamma": 2}}, "C": {"weighting": "p2"}}, "seeds": 1})
    assert [t.values for t in study.design_trials] == [
        {"seed": 0}, {"weighting.kind": "min_snr", "weighting.gamma": 2, "seed": 0}, {"weighting.kind": "p2", "seed": 0},
    ]
    assert study.design and study.design.family == "ladder"


def test_a_factorial_has_every_combination() -> None:
    study = study_of({"factors": {"weighting.kind": ["edm", "snr"], "schedule.kind": ["cosine", "laplace"]}, "seeds": 1})
    assert names(study) == ["weighting=edm schedule=cosine", "weighting=edm schedule=laplace", "weighting=snr schedule=cosine",
                            "weighting=snr schedule=laplace"]


def test_a_study_with_a_design_survives_its_file() -> None:
    study = study_of({"variants": VARIANTS, "baseline": "p2"})
    assert Study.model_validate(study.model_dump(mode="json")).design_trials == study.design_trials
    assert study.design and study.design.baseline_name == "p2"


def test_files_of_variants_are_those_of_the_folder_in_which_the_study_was_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = study_of({"variants": {"digits": {}, "own": {"data": {"kind": "edm_zip", "path": "own.zip"}}}, "seeds": 1})
    monkeypatch.chdir("/")
    assert str(study.recipe(study.design_trials[1].values).data.path) == str(tmp_path / "own.zip")  # type: ignore[attr-defined]


@pytest.mark.parametrize(("design", "fields", "words"), [
    ({"variants": {"a": {}}}, {}, ["at least two"]),
    ({"variants": VARIANTS, "seeds": []}, {}, ["at least one"]),
    ({"variants": VARIANTS, "seeds": [1, 1]}, {}, ["each once"]),
    ({"variants": VARIANTS, "baseline": "edn"}, {}, ["'edn' is no variant", "edm, min_snr, p2"]),
    ({"variants": {"a": {}, "b": {"seed": 3}}}, {}, ["variant b", "sets seed"]),
    ({"variants": {"a": {}, "b": {}}}, {}, ["a and b are the same"]),
    ({"variants": {"a": {}, "b": {"weighting": "edm"}}}, {}, ["a and b are the same recipe"]),
    ({"variants": {"a": {}, "b": {"weighting": "edn"}}}, {}, ["variant b", "edn", "edm"]),
    ({"variants": {"a": {}, "b": {"weighting.gamma": 3}}}, {}, ["variant b", "weighting", "kind"]),
    ({"variants": {"a": {}, "b": {"evaluation.features": "pixels"}}}, {}, ["do not compare"]),
    ({"variants": VARIANTS}, {"space": {"seed": [0, 1]}}, ["space and design"]),
    ({"variants": VARIANTS}, {"search": {"trials": 3}}, ["search.trials", "no effect beside a design"]),
    ({"variants": VARIANTS}, {"search": {"early_stopping": {"kind": "asha", "grace_images": 128}}}, ["search.early_stopping"]),
    ({"variants": {"a": {}, "b": {"experts.groups": 2}}}, {"sweep": {"times": [0.5, 1.0]}}, ["sweep.times", "experts"]),
    ({"rows": {"A": {}, "B": {"weighting": "p2"}}, "baseline": "A"}, {}, ["one before"]),
    ({"variants": VARIANTS, "smallest_effect": 2}, {}, ["smallest_effect"]),
    ({"variants": VARIANTS, "seeds": 5, "looks": [4, 3]}, {}, ["looks: [4, 3]", "rising numbers below 5"]),
    ({"variants": VARIANTS, "seeds": 5, "looks": [3, 5]}, {}, ["looks: [3, 5]"]),
    ({"variants": {"a": {}, "two\nlines": {}}}, {}, ["design.variants: 'two\\nlines' was given as a name: use 1 to 100 characters"]),
    ({"rows": {"a": {}, "\x1b[31mred": {}}}, {}, ["design.rows: '\\x1b[31mred' was given"]),
    ({"components": {"a": {}, " ": {}}}, {}, ["design.components: ' ' was given"]),
    ({"variants": {"a": {}, "x" * 101: {}}}, {}, ["design.variants: 'xxx", "xxx' was given as a name"]),
    ({"kind": "latin_square"}, {}, ["latin_square", "factorial"]),
])
def test_what_is_no_design_is_explained(design: dict, fields: dict, words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        study_of(design, **fields)
    for word in words:
        assert word in str(error.value)
    assert all(len(line) < 400 and line.isprintable() for line in str(error.value).splitlines())


def test_names_may_be_long_and_in_any_script() -> None:
    study_of({"variants": {"a": {}, "é – 日本 \N{BUG} " + "x" * 90: {"weighting": "snr"}}})
