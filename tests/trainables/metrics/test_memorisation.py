"""Copies of training images are found, and new images of the same law are not taken for copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import tiny_fields
from trainables.data.images import ImageData
from trainables.ema.sweep_settings import Sweep
from trainables.errors import ConfigError
from trainables.evaluation.sweep import point_row, sweep
from trainables.metrics import reference as references
from trainables.metrics.latent import Latent
from trainables.metrics.memorisation import Memorisation
from trainables.metrics.reference import Reference
from trainables.recipe import make_recipe
from trainables.training.loop import train


def data_of(seed: int, count: int) -> ImageData:
    """Independent images of one law."""
    values = np.random.default_rng(seed).standard_normal((count, 1, 2, 4)).astype(np.float32)
    return ImageData(values, np.zeros(count, np.int64), 0, known={"key": f"{seed:016d}{count}", "mean": [0.0], "std": [1.0]})


@pytest.fixture
def check(tmp_path: Path) -> Memorisation:
    return Memorisation(Reference(Latent(), data_of(0, 3000), tmp_path), data_of(1, 2000))


def features(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 2  # the map for latents of unit variance


def test_new_images_are_as_near_as_held_out_ones(check: Memorisation) -> None:
    share = check(features(data_of(2, 4000).images)).share
    assert abs(share - 0.05) < 4 * np.sqrt(0.05 * 0.95 * (1 / 4000 + 1 / 2000))


def test_copies_are_found_with_the_image_that_they_copy(check: Memorisation) -> None:
    copied = np.random.default_rng(3).integers(0, 3000, 500)
    slightly = data_of(0, 3000).images[copied] + 0.01 * data_of(4, 500).images
    found = check(features(np.concatenate([slightly, data_of(2, 500).images])))
    assert (found.nearest[:500] == copied).all()
    assert abs(found.share - (0.5 + 0.5 * 0.05)) < 0.02


def test_of_very_many_images_an_even_choice_is_looked_at(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(references, "_MOST_SAMPLES", 50)
    monkeypatch.setattr(references, "_MOST_NEIGHBOURS", 100)
    data = data_of(0, 300)
    check = Memorisation(Reference(Latent(), data, tmp_path), data_of(1, 200))
    chosen = np.unique(np.linspace(0, 299, 100).astype(int))
    assert (check(features(data.images[chosen])).nearest == chosen).all()


def test_a_sweep_tells_the_share_in_every_space_and_the_nearest_images(tmp_path: Path, cache: Path) -> None:
    fields = tiny_fields(data={"kind": "digits", "held_out": 0.2})
    fields["evaluation"] |= {"sample_metrics": ["memorisation"], "also": ["pixels"]}
    recipe = make_recipe(fields)
    assert {"memorisation_probe", "memorisation_pixels"} <= recipe.evaluation.metric_names
    list(train(recipe, tmp_path, cache))
    point = sweep(recipe, tmp_path, cache, Sweep(sigma_rels=(0.1,))).points[0]
    assert all(0 <= point.metrics[f"memorisation_{space}"] <= 1 for space in ("probe", "pixels"))
    nearest = point_row(point)["nearest"]
    assert len(nearest) == len(point.examples) and min(nearest) >= 0 and max(nearest) < len(recipe.data.load().images)
    del fields["data"]
    with pytest.raises(ConfigError, match=r"memorisation compares with images that were not trained on: set data.held_out"):
        make_recipe(fields)
