"""Real images in, whitened floats out and back."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.numpy import save_file

from trainables.data import source_of
from trainables.data.arrow import Arrow
from trainables.data.arrow_file import write_arrow
from trainables.data.digits import Digits
from trainables.data.edm_zip import EdmZip
from trainables.data.latents import Latents
from trainables.data.parquet import Parquet
from trainables.data.torchvision_sets import ImageFolder, Torchvision
from trainables.errors import ConfigError, UserError

CIFAR = Path(__file__).parents[4] / "shared/data/cifar10-jpeg/test.parquet"


def test_digits_are_whitened_and_come_back() -> None:
    data = Digits().load()
    assert data.images.shape == (1797, 1, 8, 8) and data.classes == 10 and data.peak == 16
    whitened = data.whitened(np.arange(1797))
    assert abs(whitened.mean()) < 1e-5 and abs(whitened.std() - 1) < 1e-3
    assert (data.raw(whitened) == data.images).all()
    assert Digits().load() is data  # once per process


@pytest.mark.skipif(not CIFAR.exists(), reason=f"needs the CIFAR-10 Parquet files beside the checkout ({CIFAR})")
def test_cifar_parquet_loads() -> None:
    data = Parquet(path=str(CIFAR), limit=300).load()
    assert data.images.shape == (300, 3, 32, 32) and data.classes == 10
    assert (data.raw(data.whitened(np.arange(300))) == data.images).all()


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    cells = []
    for i in range(6):
        out = io.BytesIO()
        Image.fromarray(np.full((4, 4, 3), i * 40, dtype=np.uint8)).save(out, "PNG")
        cells.append({"bytes": b"not an image" if i == 3 else out.getvalue(), "path": None})
    path = tmp_path / "images.parquet"
    pq.write_table(pa.table({"image": cells, "label": [0, 1, 2, 0, 1, 2]}), path)
    return path


def test_a_broken_image_is_fatal_or_named_and_skipped(parquet: Path, caplog) -> None:
    with pytest.raises(UserError, match=r"image 3 cannot be decoded.*on_bad: skip"):
        Parquet(path=str(parquet)).read()
    data = Parquet(path=str(parquet), on_bad="skip").read()
    assert data.images.shape == (5, 3, 4, 4) and data.labels.tolist() == [0, 1, 2, 1, 2]
    assert "image 3" in caplog.text and "1 of 6 images left out" in caplog.text


def test_missing_files_and_columns_are_explained(parquet: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no Parquet file there"):
        Parquet(path=str(tmp_path / "nothing.parquet")).read()
    with pytest.raises(UserError, match=r"no column 'img'.*Did you mean 'image'"):
        Parquet(path=str(parquet), image_column="img").read()
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(UserError, match="not readable as Parquet"):
        Parquet(path=str(tmp_path / "text.parquet")).read()


def test_arrow_is_mapped_not_copied_and_keeps_hash_and_statistics(tmp_path: Path) -> None:
    digits = Digits().load()
    write_arrow(digits, tmp_path / "digits.arrow")
    data = Arrow(path=str(tmp_path / "digits.arrow"), verify=True).read()
    assert (data.images == digits.images).all() and (data.labels == digits.labels).all()
    assert data.key == digits.key and data.peak == 16 and data.classes == 10 and data.images.base is not None
    np.testing.assert_array_equal(data.statistics, digits.statistics)
    damaged = bytearray((tmp_path / "digits.arrow").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "digits.arrow").write_bytes(damaged)
    with pytest.raises(UserError, match="is damaged"):
        Arrow(path=str(tmp_path / "digits.arrow"), verify=True).read()
    with pytest.raises(UserError, match="is not a file that"):
        Arrow(path=str(tmp_path / "none.arrow")).read()


def test_zip_in_edm_s_layout(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        labels = []
        for i in range(4):
            out = io.BytesIO()
            Image.fromarray(np.full((8, 8), i * 10, dtype=np.uint8)).save(out, "PNG")
            archive.writestr(f"00000/img{i:08d}.png", out.getvalue())
            labels.append([f"00000/img{i:08d}.png", i % 2])
        archive.writestr("dataset.json", json.dumps({"labels": labels}))
    data = EdmZip(path=str(tmp_path / "d.zip")).read()
    assert data.images.shape == (4, 1, 8, 8) and data.labels.tolist() == [0, 1, 0, 1] and data.images[3, 0, 0, 0] == 30
    assert EdmZip(path=str(tmp_path / "d.zip"), labelled=False).read().classes == 0
    (tmp_path / "bad.zip").write_text("no")
    with pytest.raises(UserError, match="cannot be read as a zip"):
        EdmZip(path=str(tmp_path / "bad.zip")).read()


def test_latents_are_scaled_and_whitened(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((50, 4, 2, 2)).astype(np.float32) * 3 + 1
    save_file({"latents": values, "labels": np.arange(50) % 5}, tmp_path / "l.safetensors")
    data = Latents(path=str(tmp_path / "l.safetensors"), scale=2.0, shift=1.0).read()
    assert data.classes == 5 and not data.pictures
    np.testing.assert_allclose(data.images, values / 2 + 1, rtol=1e-6)
    whitened = data.whitened(np.arange(50))
    assert abs(whitened.mean()) < 1e-5 and abs(whitened.std() - 1) < 0.01
    np.testing.assert_allclose(data.raw(whitened), data.images, atol=1e-5)
    save_file({"x": values}, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match=r"needs a tensor 'latents'.*holds x"):
        Latents(path=str(tmp_path / "x.safetensors")).read()


def test_image_folder_and_torchvision(tmp_path: Path) -> None:
    for label, name in enumerate(["cat", "dog"]):
        (tmp_path / "f" / name).mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), label * 99, dtype=np.uint8)).save(tmp_path / "f" / name / "a.png")
    data = ImageFolder(root=str(tmp_path / "f")).read()
    assert data.images.shape == (2, 3, 8, 8) and data.labels.tolist() == [0, 1] and data.images[1, 0, 0, 0] == 99
    with pytest.raises(UserError, match="needs a sub-folder"):
        ImageFolder(root=str(tmp_path / "nothing")).read()
    with pytest.raises(UserError, match=r"MNIST.*download: true"):
        Torchvision(name="MNIST", root=str(tmp_path / "nothing")).read()
    raw = tmp_path / "MNIST/raw"  # MNIST's own format, with five made-up images
    raw.mkdir(parents=True)
    pixels = np.arange(5 * 28 * 28, dtype=np.uint8).reshape(5, 28, 28)
    (raw / "train-images-idx3-ubyte").write_bytes(np.array([2051, 5, 28, 28], ">i4").tobytes() + pixels.tobytes())
    (raw / "train-labels-idx1-ubyte").write_bytes(np.array([2049, 5], ">i4").tobytes() + bytes([0, 1, 2, 3, 9]))
    for part in ("images-idx3", "labels-idx1"):
        (raw / f"t10k-{part}-ubyte").write_bytes((raw / f"train-{part}-ubyte").read_bytes())
    data = Torchvision(name="MNIST", root=str(tmp_path)).read()
    assert data.images.shape == (5, 1, 28, 28) and data.labels.tolist() == [0, 1, 2, 3, 9] and (data.images[:, 0] == pixels).all()


def test_a_path_tells_its_kind(parquet: Path, tmp_path: Path) -> None:
    assert source_of(str(parquet), "skip").on_bad == "skip"
    assert source_of("digits").kind == "digits" and source_of(str(tmp_path)).kind == "parquet"
    assert source_of("{kind: latents, path: x, scale: 2}").scale == 2
    with pytest.raises(ConfigError, match="neither a folder"):
        source_of("nothing.tar")
