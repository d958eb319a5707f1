"""Latents are scored in their own space, under its own name, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.conftest import tiny_fields
from trainables.data.digits import Digits
from trainables.data.images import ImageData
from trainables.ema.sweep_settings import Sweep
from trainables.errors import ConfigError
from trainables.evaluation.sweep import sweep
from trainables.metrics.latent import Latent
from trainables.metrics.pixels import Pixels
from trainables.recipe import make_recipe
from trainables.training import metrics_log
from trainables.training.loop import train


def latents(seed: int, shape: tuple[int, ...]) -> ImageData:
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * 3 + 1
    return ImageData(values, np.zeros(len(values), np.int64), 0)


def test_features_are_the_values_on_one_scale_or_means_of_squares(tmp_path: Path) -> None:
    data = latents(0, (500, 4, 8, 8))
    plain = Latent().prepare(data, tmp_path)(data.images).features
    assert plain.shape == (500, 256) and plain.dtype == np.float32 and plain.std() == pytest.approx(0.5, abs=0.01)
    pooled = Latent(pool=4).prepare(data, tmp_path)(data.images).features
    np.testing.assert_allclose(pooled[:, 1], plain.reshape(500, 4, 8, 8)[:, 0, :4, 4:].mean((1, 2)), atol=1e-6)
    assert pooled.shape == (500, 16)
    hashes = {settings.prepare(data, tmp_path).hash for settings in (Latent(), Latent(pool=2), Latent(pool=4))}
    assert len(hashes) == 3  # scores in different spaces are never taken for comparable


def test_what_is_not_a_latent_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the data are pictures; use pixels"):
        Latent().prepare(Digits().load(), tmp_path)
    with pytest.raises(ConfigError, match=r"the data are latents; use latent"):
        Pixels().prepare(latents(0, (4, 1, 2, 2)), tmp_path)
    large = latents(0, (2, 4, 64, 64))
    with pytest.raises(ConfigError, match=r"16384 values.*use a larger pool"):
        Latent().prepare(large, tmp_path)
    with pytest.raises(ConfigError, match=r"pool = 3 does not divide latents of 64x64"):
        Latent(pool=3).prepare(large, tmp_path)
    assert Latent(pool=2).prepare(large, tmp_path)(large.images).features.shape == (2, 4096)


def test_latents_train_and_are_scored_with_all_that_data_may_ask_for(tmp_path: Path, cache: Path) -> None:
    values = np.random.default_rng(0).standard_normal((200, 4, 8, 8)).astype(np.float32) * 5
    save_file({"latents": values, "labels": np.arange(200) % 5}, tmp_path / "l.safetensors")
    fields = tiny_fields(data={"kind": "latents", "path": str(tmp_path / "l.safetensors"), "held_out": 0.2}, augment="edm")
    fields["evaluation"] |= {"features": "latent", "sample_metrics": ["memorisation", "prdc"]}
    recipe = make_recipe(fields)
    list(train(recipe, tmp_path / "run", cache))
    row = metrics_log.read(tmp_path / "run")[-1]
    assert row["interim_fd_latent"] > 0 and row["held_out_loss"] > 0
    metrics = sweep(recipe, tmp_path / "run", cache, Sweep(sigma_rels=(0.1,))).points[0].metrics
    assert {"fd_latent", "memorisation_latent", "precision_latent", "held_out_loss"} <= metrics.keys()
