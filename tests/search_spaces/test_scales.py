"""A study at one of several scales: whose field wins, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from search_spaces.scales import at_scale, scales
from search_spaces.study import load_study
from trainables.errors import ConfigError

STUDY = {
    "name": "mine", "base": {"schedule": "edm_lognormal", "optimiser": {"lr": 0.02}},
    "design": {"variants": {"a": {}, "b": {"weighting": "snr"}}, "seeds": 2},
    "scales": {"digits": {"base": {"duration": {"images": 1024}}}, "imagenet64": {"design": {"seeds": 3}}, "cifar10": None},
}


def written(folder: Path, study: dict) -> str:
    (folder / "mine.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    return str(folder / "mine.yaml")


def test_the_scale_lies_under_the_study_and_what_it_lists_for_the_scale_over_it(tmp_path: Path) -> None:
    file = written(tmp_path, STUDY)
    digits, large, cifar = load_study(file), load_study(file, scale="imagenet64"), load_study(file, scale="cifar10")
    assert (digits.name, large.name, cifar.name) == ("mine", "mine-imagenet64", "mine-cifar10")
    assert digits.base_recipe.data.kind == "digits" and digits.base_recipe.duration.images == 1024
    assert digits.base_recipe.duration.batch_size == 128  # of the scale, beside what the study lists
    assert digits.base_recipe.optimiser.lr == large.base_recipe.optimiser.lr == 0.02
    assert (large.base_recipe.schedule.P_mean, large.base_recipe.schedule.P_std) == (-0.8, 1.6)  # the same kind keeps the scale's settings
    assert len(digits.design_trials) == 4 and len(large.design_trials) == 6
    assert load_study(file, {"base.duration.images": 512}).base_recipe.duration.images == 512


def test_a_method_of_another_kind_takes_the_place_of_the_scales_whole(tmp_path: Path) -> None:
    base = {"schedule": "cosine", "network": {"kind": "dit", "width": 32, "depth": 1, "heads": 2}}
    study = load_study(written(tmp_path, {**STUDY, "base": base}), scale="imagenet64")
    assert study.base_recipe.schedule.kind == "cosine" and study.base_recipe.network.kind == "dit"


def test_a_study_without_scales_is_complete_by_itself() -> None:
    fields = {"name": "x", "base": {}}
    assert at_scale(fields, None, "study x") == fields
    with pytest.raises(ConfigError, match="--scale digits: study x lists no scales"):
        at_scale(fields, "digits", "study x")


@pytest.mark.parametrize(("listed", "scale", "words"), [
    ({"digits": {}}, "cifar10", "has the scales digits"),
    ({"digits": {}, "cifar10": {}}, "cifar", "Did you mean 'cifar10'"),
    ({"digit": {}}, None, "'digit' is none. Scales: cifar10, digits, imagenet512, imagenet64. Did you mean 'digits'"),
    *[(listed, None, "at least one of") for listed in ({}, [], "digits", {"digits": 3})],
    ({"digits": {"nonsense": 1}}, None, "nonsense"), ({"digits": {"name": 3}}, None, "name"),
])
def test_what_is_no_scale_is_one_message(listed: object, scale: str | None, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        load_study(written(tmp_path, {**STUDY, "scales": listed}), scale=scale)


def test_every_scale_has_what_makes_scores_comparable() -> None:
    assert set(scales()) == {"digits", "cifar10", "imagenet64", "imagenet512"}
    for file in scales().values():
        fields = yaml.safe_load(file.read_text())
        assert set(fields) == {"base", "sweep", "compute"}
        assert {"data", "network", "optimiser", "ema", "duration", "evaluation"} <= set(fields["base"])
