"""Real images in, whitened floats out and back."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from trainables.data.digits import Digits
from trainables.data.parquet import Parquet
from trainables.errors import UserError

CIFAR = Path(__file__).parents[4] / "shared/data/cifar10-jpeg/test.parquet"


def test_digits_are_whitened_and_come_back() -> None:
    data = Digits().load()
    assert data.images.shape == (1797, 1, 8, 8) and data.classes == 10 and data.peak == 16
    whitened = data.whitened(np.arange(1797))
    assert abs(whitened.mean()) < 1e-5 and abs(whitened.std() - 1) < 1e-3
    assert (data.to_bytes(whitened) == data.images).all()
    assert Digits().load() is data  # once per process


@pytest.mark.skipif(not CIFAR.exists(), reason=f"needs the CIFAR-10 Parquet files beside the checkout ({CIFAR})")
def test_cifar_parquet_loads() -> None:
    data = Parquet(path=str(CIFAR), limit=300).load()
    assert data.images.shape == (300, 3, 32, 32) and data.classes == 10
    assert (data.to_bytes(data.whitened(np.arange(300))) == data.images).all()


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
