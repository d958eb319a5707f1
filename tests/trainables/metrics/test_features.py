"""Feature spaces: Inception against torch-fidelity, DINOv2 through timm, pixels, files that are missing or wrong."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainables.data import ImageData
from trainables.data.digits import Digits
from trainables.errors import ConfigError
from trainables.metrics import probe, reference
from trainables.metrics.dinov2 import DinoV2
from trainables.metrics.features import Extracted, rgb
from trainables.metrics.frechet import FeatureStatistics, frechet_distance
from trainables.metrics.inception import Inception
from trainables.metrics.pixels import Pixels
from trainables.metrics.probe import Probe
from trainables.metrics.reference import Reference
from trainables.recipe import make_recipe


def pictures(seed: int, count: int = 12, channels: int = 3) -> ImageData:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, channels, 32, 32)).astype(np.uint8)
    return ImageData(images, np.zeros(count, np.int64), 0)


@pytest.fixture(scope="session")
def random_inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of the right layout with random, well-scaled values (the published one is not at hand here)."""
    from unittest.mock import patch

    from torch_fidelity import feature_extractor_inceptionv3 as module

    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    cls = module.FeatureExtractorInceptionV3
    with patch.object(module, "load_state_dict_from_url", lambda *_, **__: {}), patch.object(cls, "load_state_dict", lambda *_, **__: None):
        net = cls("inception-v3-compat", ["2048"])
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, value in net.state_dict().items():
        if value.ndim > 1:
            state[name] = torch.randn(value.shape, generator=generator) * (2.0 / value[0].numel()) ** 0.5
        else:
            state[name] = torch.ones_like(value) if "running_var" in name or name.endswith("bn.weight") else torch.zeros_like(value)
    torch.save(state, path)
    return path


def test_inception_features_and_fid_equal_torch_fidelity(random_inception: Path, tmp_path: Path) -> None:
    from torch_fidelity import calculate_metrics

    a, b = pictures(0), pictures(1)
    for name, data in (("a", a), ("b", b)):
        (tmp_path / name).mkdir()
        for i, image in enumerate(data.images):
            Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / name / f"{i:03d}.png")
    theirs = calculate_metrics(
        input1=str(tmp_path / "a"), input2=str(tmp_path / "b"), fid=True, isc=True, cuda=False, verbose=False, cache=False,
        feature_extractor_weights_path=str(random_inception), save_cpu_ram=True,
    )
    extract = Inception(weights=random_inception, sha256="").prepare(a, tmp_path)
    ours = [FeatureStatistics(2048).update(extract(d.images).features) for d in (a, b)]
    assert frechet_distance(*ours) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
    from trainables.metrics.per_sample.inception_score import inception_score

    assert inception_score(extract(a.images).logits)[0] == pytest.approx(theirs["inception_score_mean"], rel=1e-4)


def test_weights_files_hold_tensors_alone(random_inception: Path, tmp_path: Path) -> None:
    """A file that would run code when unpickled is refused."""
    evil = tmp_path / "evil.pth"

    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save({"x": Evil()}, evil)
    with pytest.raises(Exception, match=r"[Ww]eights.only|Unsupported"):
        Inception(weights=evil, sha256="").prepare(pictures(0), tmp_path)
    assert not (tmp_path / "ran").exists()


def test_missing_and_wrong_weights_are_explained(random_inception: Path, tmp_path: Path) -> None:
    missing = tmp_path / "none.pth"
    with pytest.raises(ConfigError, match=r"none\.pth and are not there.*Get it from https"):
        Inception(weights=missing).check_files()
    digest = hashlib.sha256(random_inception.read_bytes()).hexdigest()
    with pytest.raises(ConfigError, match=f"has SHA-256 {digest}, and 6726825d is wanted"):
        Inception(weights=random_inception).check_files()
    Inception(weights=random_inception, sha256=digest[:12]).check_files()
    with pytest.raises(ConfigError, match=r"features\.weights"):
        DinoV2(weights=missing).check_files()
    recipe = make_recipe({"evaluation": {"also": [{"kind": "inception", "weights": str(missing)}]}})
    with pytest.raises(ConfigError, match="features inception"):
        recipe.check_files()


@pytest.mark.parametrize(("model", "dimensions"), [("vit-s", 384), ("vit-b", 768), ("vit-l", 1024), ("vit-g", 1536)])
def test_a_transformer_of_a_size_has_the_published_width(model: str, dimensions: int) -> None:
    assert DinoV2(model=model, weights=Path("some.pth")).dimensions == dimensions


def test_dinov2_reads_timm_weights(tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    net = timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0, img_size=28).eval()
    path = tmp_path / "vits.safetensors"
    save_file(net.state_dict(), path)
    data = pictures(0, 3)
    features = DinoV2(model="vit-s", weights=path, resolution=28).prepare(data, tmp_path)(data.images).features
    assert features.shape == (3, 384)
    x = torch.nn.functional.interpolate(torch.from_numpy(data.images).float() / 255, (28, 28), mode="bicubic", antialias=True).clamp(0, 1)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))  # of ImageNet
    with torch.no_grad():
        np.testing.assert_allclose(features, net((x - mean) / std), rtol=1e-4, atol=1e-4)
    grey = DinoV2(model="vit-s", weights=path, resolution=28).prepare(pictures(0, 2, channels=1), tmp_path)
    assert grey(pictures(0, 2, channels=1).images).features.shape == (2, 384)
    with pytest.raises(ConfigError, match="does not fit vit-b"):
        DinoV2(model="vit-b", weights=path, resolution=28).prepare(data, tmp_path)


def test_what_cannot_be_scored_is_refused(random_inception: Path, tmp_path: Path) -> None:
    latents = ImageData(np.zeros((4, 4, 8, 8), np.float32), np.zeros(4, np.int64), 0)
    with pytest.raises(ConfigError, match="wants grey or RGB pictures"):
        Inception(weights=random_inception, sha256="").prepare(latents, tmp_path)(latents.images)
    with pytest.raises(ConfigError, match="needs data with labels"):
        Probe().prepare(latents, tmp_path)
    with pytest.raises(ConfigError, match="more than 4096"):
        Pixels().prepare(ImageData(np.zeros((1, 3, 64, 64), np.uint8), np.zeros(1, np.int64), 0), tmp_path)
    with pytest.raises(ConfigError, match="each feature space may be given once"):
        make_recipe({"evaluation": {"features": "pixels", "also": ["pixels"]}})


def test_statistics_of_real_images_are_computed_once(tmp_path: Path) -> None:
    data = pictures(0, 40, channels=1)
    first = Reference(Pixels(), data, tmp_path)
    calls = []
    again = Reference(Pixels(), data, tmp_path)
    again.extract = lambda images: calls.append(1) or Extracted(images)  # type: ignore[func-returns-value]
    expected = first.statistics()
    assert again.statistics().count == 40 and not calls
    np.testing.assert_array_equal(again.statistics().mean, expected.mean)
    other = Reference(Pixels(), pictures(1, 40, channels=1), tmp_path)
    assert not np.array_equal(other.statistics().mean, expected.mean)


@pytest.mark.parametrize("damage", ["bit", "half"])
def test_damaged_files_of_the_cache_change_no_score(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One flipped bit in the probe once gave other scores and no word."""
    data, space = Digits().load(), Probe(dim=16, steps=20)

    def found() -> tuple[np.ndarray, np.ndarray, str]:
        reference = Reference(space, data, tmp_path)
        return reference.extract(data.images[:8]).features, reference.statistics().mean, reference.feature_hash

    before = found()
    files = sorted(tmp_path.glob("*.safetensors"))
    assert [path.name.split("-")[0] for path in files] == ["probe", "statistics"]
    for path in files:
        content = bytearray(path.read_bytes())
        content[-100] ^= 16
        path.write_bytes(content if damage == "bit" else content[: len(content) // 2])
    after = found()
    assert before[2] == after[2]
    for a, b in zip(before[:2], after[:2], strict=True):
        np.testing.assert_array_equal(a, b)
    assert [f"{path}: is damaged" in caplog.text for path in files] == [True, True]


def test_other_weights_are_another_feature_space(random_inception: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pth"
    state = torch.load(random_inception, weights_only=True)
    torch.save({name: value * 1.01 if value.ndim > 1 else value for name, value in state.items()}, other)
    same = tmp_path / "same.pth"
    same.write_bytes(random_inception.read_bytes())
    spaces = [Inception(weights=path, sha256="") for path in (random_inception, same, other)]
    hashes = [space.prepare(pictures(0), tmp_path / "cache").hash for space in spaces]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(("shape", "dim", "classes"), [((1, 8, 8), 64, 10), ((3, 32, 32), 16, 5)])
def test_the_probe_is_the_network_that_its_version_names(shape: tuple[int, int, int], dim: int, classes: int) -> None:
    """fd_probe is defined by them: whoever changes one raises VERSION (`test_numerics` compares features)."""
    assert (probe.VERSION, Probe().dim, Probe().steps) == (1, 64, 400)
    net = probe._classifier(shape[0], dim, classes)
    assert [type(layer).__name__ for layer in net] == [
        "Conv2d", "ReLU", "Conv2d", "ReLU", "Conv2d", "ReLU", "AdaptiveAvgPool2d", "Flatten", "Linear", "ReLU", "Linear"]
    assert [tuple(p.shape) for p in net.parameters() if p.ndim > 1] == [
        (dim // 2, shape[0], 3, 3), (dim, dim // 2, 3, 3), (dim, dim, 3, 3), (dim, 4 * dim), (classes, dim)]
    assert net[:-1](torch.zeros(2, *shape)).shape == (2, dim)
    assert [(layer.stride, layer.padding) for layer in net if isinstance(layer, torch.nn.Conv2d)] == [
        ((1, 1), (1, 1)), ((2, 2), (1, 1)), ((1, 1), (1, 1))]


def test_the_floor_is_what_draws_of_real_images_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pictures(0, 400, channels=1)
    found = Reference(Pixels(), data, tmp_path)
    floor, true = found.floor(200, seed=0), found.statistics()
    rng, features = np.random.default_rng(0), found.real()
    drawn = [frechet_distance(found.statistics_of(features[rng.integers(0, 400, 200)]), true) for _ in range(60)]
    assert np.mean(drawn) - 4 * np.std(drawn) / np.sqrt(3) < floor < np.mean(drawn) + 4 * np.std(drawn) / np.sqrt(3)
    assert found.floor(399, seed=0) < floor == Reference(Pixels(), data, tmp_path).floor(200, seed=0) != found.floor(200, seed=1)
    monkeypatch.setattr(reference, "_MOST_SAMPLES", 100)  # as if there were very many: features of the drawn images alone
    assert Reference(Pixels(), data, tmp_path / "other").floor(200, seed=0) == pytest.approx(floor, rel=0.5)


def test_pictures_are_stretched_to_eight_bits_and_grey_ones_repeated() -> None:
    images = np.array([0, 1, 7, 8, 16], np.uint8).reshape(5, 1, 1, 1)
    found = rgb(images, Digits().load(), "features x")
    assert found.shape == (5, 3, 1, 1) and found.dtype == np.uint8
    assert found[:, 0, 0, 0].tolist() == found[:, 2, 0, 0].tolist() == [0, 16, 112, 128, 255]


def test_inception_is_looked_for_where_torch_hub_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    file = "hub/checkpoints/weights-inception-2015-12-05-6726825d.pth"
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("TORCH_HOME", raising=False)
    assert Inception().files["weights"] == (Path.home() / ".cache/torch" / file,)
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert Inception().files["weights"] == (Path("/caches/torch") / file,)
    monkeypatch.setenv("TORCH_HOME", "/torch")
    assert Inception().files["weights"] == (Path("/torch") / file,)
