"""Generated images are a function of weights, seed and index, whatever the batch; labels follow the data's own distribution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import tiny_fields
from trainables.evaluation.scoring import Evaluator, evaluator_of
from trainables.networks.modules.build import build_denoiser
from trainables.networks.modules.denoiser import Denoiser
from trainables.recipe import make_recipe


def evaluator(cache: Path, sampler: dict, **evaluation) -> tuple[Evaluator, Denoiser]:
    fields = tiny_fields()
    fields["evaluation"] |= {"features": "pixels", "sampler": sampler, **evaluation}
    recipe = make_recipe(fields)
    denoiser = build_denoiser(recipe, recipe.data.load())
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return evaluator_of(recipe, cache), denoiser


CHURN = {"kind": "heun", "num_steps": 3, "churn": 3}


@pytest.mark.parametrize("sampler", [CHURN, {"kind": "ddpm", "num_steps": 4}])
def test_fresh_noise_belongs_to_the_image_and_not_to_its_batch(sampler: dict, tmp_path: Path) -> None:
    made, denoiser = evaluator(tmp_path, sampler)
    whole = made.generate(denoiser, 0, 12)
    parts = np.concatenate([made.generate(denoiser, first, count) for first, count in ((0, 5), (5, 1), (6, 6))])
    assert np.abs(whole.astype(int) - parts.astype(int)).max() <= 1  # rounding of other batch sizes
    assert (whole != parts).mean() < 0.01
    np.testing.assert_array_equal(whole, made.generate(denoiser, 0, 12))


def test_fresh_noise_has_an_effect_and_follows_the_seed_and_the_set_of_latents(tmp_path: Path) -> None:
    images = []
    others = [({**CHURN, "churn": 0}, 0, 0), ({**CHURN, "churn_noise": 1.1}, 0, 0), (CHURN, 1, 0), (CHURN, 0, 1)]
    for sampler, seed, latents in ((CHURN, 0, 0), *others):
        made, denoiser = evaluator(tmp_path, sampler, seed=seed)
        images.append(made.generate(denoiser, 0, 8, latents=latents))
    for other in images[1:]:
        assert (images[0] != other).mean() > 0.05
