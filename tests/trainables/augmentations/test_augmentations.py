"""What every augmentation must do, and EDM's pipe against its table."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.conftest import tiny_fields
from trainables.augmentations import KINDS
from trainables.augmentations.edm import EdmPipe
from trainables.augmentations.flips import Flips
from trainables.data.digits import Digits
from trainables.networks.modules.build import build_denoiser
from trainables.recipe import make_recipe
from trainables.training.inputs import Inputs
from trainables.training.ranks import Ranks

IMAGES = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
NOTHING = {"x_flip": False, "y_flip": False, "scale": 0.0, "rotation": 0.0, "anisotropy": 0.0, "translation": 0.0}


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_changed_by_its_index_alone(kind: str) -> None:
    settings = KINDS[kind]()
    images, labels = settings.apply(IMAGES, 3, 100)
    again, its_labels = settings.apply(IMAGES[40:], 3, 140)
    assert torch.equal(images[40:], again) and images.shape == IMAGES.shape and images.dtype == torch.float32
    assert (labels is None) == (settings.labels == 0)
    if labels is not None and its_labels is not None:
        assert labels.shape == (64, settings.labels) and torch.equal(labels[40:], its_labels)
    if kind != "none":
        assert not torch.equal(settings.apply(IMAGES, 4, 100)[0], images)


def test_half_of_the_images_are_mirrored() -> None:
    images, _ = Flips().apply(IMAGES.repeat(50, 1, 1, 1), 0, 0)
    mirrored = (images == IMAGES.repeat(50, 1, 1, 1).flip(3)).flatten(1).all(1)
    assert ((images == IMAGES.repeat(50, 1, 1, 1)).flatten(1).all(1) ^ mirrored).all()
    assert abs(mirrored.double().mean() - 0.5) < 4 * 0.5 / math.sqrt(3200)
    assert torch.equal(Flips(probability=0).apply(IMAGES, 0, 0)[0], IMAGES)
    assert torch.equal(Flips(probability=1).apply(IMAGES, 0, 0)[0], IMAGES.flip(3))


def test_the_pipe_without_any_change_is_the_identity_with_labels_of_zero() -> None:
    for settings in (EdmPipe(probability=1, **NOTHING), EdmPipe(probability=0, x_flip=False)):
        images, labels = settings.apply(IMAGES, 0, 0)
        assert torch.equal(images, IMAGES) and labels is not None and not labels.any()


def test_flips_of_the_pipe_are_exact_and_told() -> None:
    images, labels = EdmPipe(probability=1, **NOTHING | {"x_flip": True, "y_flip": True}).apply(IMAGES, 0, 0)
    assert labels is not None and set(labels[:, :2].flatten().tolist()) == {0.0, 1.0} and not labels[:, 2:].any()
    for image, original, (x, y) in zip(images, IMAGES, labels[:, :2].tolist(), strict=True):
        expected = original.flip(2) if x else original
        assert torch.equal(image, expected.flip(1) if y else expected)


def _blob(x: float, y: float, wide: float = 0.15, high: float = 0.15) -> torch.Tensor:
    """A Gaussian spot at a place in -1 .. 1, x to the right and y down, [1,1,64,64]."""
    places = (torch.arange(64) + 0.5) / 32 - 1
    spot = torch.exp(-(((places[None] - x) / wide) ** 2) - ((places[:, None] - y) / high) ** 2)
    return spot[None, None]


def _moments(image: torch.Tensor) -> tuple[float, float, float, float]:
    """(x, y, width, height) of a spot."""
    places = (torch.arange(64) + 0.5) / 32 - 1
    mass = image[0].clamp_min(0) / image[0].clamp_min(0).sum()
    x, y = float((mass.sum(0) * places).sum()), float((mass.sum(1) * places).sum())
    wide = float((mass.sum(0) * (places - x) ** 2).sum() * 2) ** 0.5
    return x, y, wide, float((mass.sum(1) * (places - y) ** 2).sum() * 2) ** 0.5


def test_the_pipe_does_what_its_labels_say() -> None:
    for first in range(5):
        images, labels = EdmPipe(probability=1, **NOTHING | {"translation": 0.05}).apply(_blob(0.1, -0.2), 0, first)
        assert labels is not None
        x, y, *_ = _moments(images[0])  # of shifts of 0.05 W a6, in units of half a width
        np.testing.assert_allclose([x, y], [0.1 + 0.1 * labels[0, 7], -0.2 + 0.1 * labels[0, 8]], atol=2e-3)

        # Near enough to the middle that the mirror image at the border stays outside.
        images, labels = EdmPipe(probability=1, **NOTHING | {"rotation": 1.0}).apply(_blob(0.25, 0.0, 0.1, 0.1), 0, first)
        assert labels is not None
        cos, sin = 1 + float(labels[0, 3]), float(labels[0, 4])
        assert cos**2 + sin**2 == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(_moments(images[0])[:2], [0.25 * cos, -0.25 * sin], atol=2e-3)  # by -a3

        images, labels = EdmPipe(probability=1, **NOTHING | {"scale": 0.2}).apply(_blob(0.3, 0.2), 0, first)
        assert labels is not None
        factor = 2 ** (0.2 * float(labels[0, 2]))
        np.testing.assert_allclose(_moments(images[0]), [0.3 * factor, 0.2 * factor, 0.15 * factor, 0.15 * factor], atol=4e-3)

        settings = EdmPipe(probability=1, **NOTHING | {"anisotropy": 0.3})
        images, labels = settings.apply(_blob(0.0, 0.0), 0, first)
        axis, a5 = settings._parameters(0, first, 1)[4:6, 0].tolist()
        assert labels is not None and labels[0, 5:7].tolist() == pytest.approx([a5 * math.cos(axis), a5 * math.sin(axis)])
        along = 0.15**2 * (math.cos(axis) ** 2 * 2 ** (0.6 * a5) + math.sin(axis) ** 2 * 2 ** (-0.6 * a5))
        assert _moments(images[0])[2] == pytest.approx(along**0.5, abs=4e-3)


def test_the_pipe_draws_as_often_as_it_should() -> None:
    settings = EdmPipe(probability=0.2)
    _, labels = settings.apply(torch.zeros(4000, 1, 2, 2), 0, 0)
    assert labels is not None
    shares = [float((labels[:, i] != 0).double().mean()) for i in (0, 1, 2, 4, 5, 7)]
    np.testing.assert_allclose(shares, [0.5, 0.1, 0.2, 0.2, 0.2, 0.2], atol=4 * 0.5 / math.sqrt(4000))
    chosen = labels[labels[:, 2] != 0, 2]
    assert abs(float(chosen.mean())) < 0.15 and abs(float(chosen.std()) - 1) < 0.1


NETWORKS = {
    "edm2": tiny_fields()["network"], "dit": {"kind": "dit", "width": 32, "depth": 1, "heads": 2},
    "adm": {"kind": "adm", "channels": 8, "mult": [1], "blocks": 1, "attention": [], "channels_per_head": 8},
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("conditional", [True, False])
def test_networks_take_augment_labels_and_need_none(network: str, conditional: bool) -> None:
    recipe = make_recipe(tiny_fields(network=NETWORKS[network], augment="edm", conditional=conditional))
    data = Digits().load()
    batch = Inputs(recipe, data, Ranks()).batch(0)
    classes = 10 if conditional else 0
    assert batch.labels is not None and batch.labels.shape == (32, classes + 9)
    denoiser = build_denoiser(recipe, data).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        told = denoiser(batch.clean, batch.log_snr, batch.labels)
        augment = batch.labels[:, classes:]
        unchanged = torch.cat([batch.labels[:, :classes], torch.zeros_like(augment)], dim=1)
        alone = denoiser(batch.clean, batch.log_snr, batch.labels[:, :classes] if conditional else None)
        assert torch.equal(denoiser(batch.clean, batch.log_snr, unchanged), alone)  # zero labels are none: as in sampling
        different = (told != alone).flatten(1).any(1)
        assert different.tolist() == augment.any(1).tolist()
    parameters = {name for name, _ in denoiser.named_parameters()}
    plain = build_denoiser(make_recipe(tiny_fields(network=NETWORKS[network], conditional=conditional)), data)
    assert {name for name in parameters if "augment" in name} == parameters - {name for name, _ in plain.named_parameters()}
