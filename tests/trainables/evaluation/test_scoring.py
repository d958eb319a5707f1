"""Generated images are a function of weights, seed and index, whatever the batch; labels follow the data's own distribution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import tiny_fields
from trainables.data import ImageData
from trainables.evaluation.scoring import Evaluator, evaluator_of
from trainables.evaluation.settings import Evaluation
from trainables.metrics.frechet import frechet_distance
from trainables.metrics.pixels import Pixels
from trainables.metrics.reference import Reference
from trainables.networks.modules.build import build_denoiser
from trainables.networks.modules.denoiser import SIGMA_DATA, Denoiser
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


class _Perfect(torch.nn.Module):
    """Knows each class's only image."""

    device = torch.device("cpu")

    def __init__(self, images: torch.Tensor) -> None:
        super().__init__()
        self.images, self.classes = torch.nn.Parameter(images), len(images)

    def denoise(self, x, sigma, labels):
        return SIGMA_DATA * self.images[labels.argmax(1)].to(x)


def test_a_perfect_generator_of_an_unbalanced_set_scores_as_real_images_do(tmp_path: Path) -> None:
    """Labels that went round the classes made it score 40 times worse than the real images that it equals."""
    labels = np.random.default_rng(0).choice(4, size=1000, p=[0.7, 0.2, 0.08, 0.02])
    kinds = np.random.default_rng(1).integers(0, 256, (4, 1, 4, 4)).astype(np.uint8)
    data = ImageData(kinds[labels], labels, 4)
    made = Evaluator(data, Evaluation.model_validate({"features": "pixels", "sampler": {"kind": "ddim", "num_steps": 2}}), tmp_path)
    perfect = _Perfect(data.whitened(np.array([int(np.argmax(labels == c)) for c in range(4)])))
    reference = Reference(Pixels(), data, tmp_path)
    for samples in (100, 500):
        real = reference.statistics_of(reference.extract(data.images[:samples]).features)
        assert made.score(perfect, samples).distance < frechet_distance(real, reference.statistics())
