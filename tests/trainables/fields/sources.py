"""Small files of every kind of data source, and what its fields must change."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from safetensors.numpy import save_file

from tests.trainables.fields.field_table import When
from trainables.data.arrow_file import write_arrow
from trainables.data.images import ImageData

COUNT = 12


def folder_of_sources(folder: Path) -> Path:
    """Written into `folder`; of each kind one whole and one other source, and one with a picture that is none."""
    for number, name in enumerate(("some", "other")):
        draw = np.random.default_rng(number)
        images, labels = draw.integers(0, 256, (COUNT, 1, 8, 8)).astype(np.uint8), np.arange(COUNT) % 3
        write_arrow(ImageData(images, labels, 3), folder / f"{name}.arrow")
        latents = draw.standard_normal((COUNT, 2, 4, 4)).astype(np.float32)
        save_file({"latents": latents, "labels": labels}, folder / f"{name}.safetensors")
        (folder / f"{name}.pth").write_bytes(b"x" * (number + 1))
        _pictures(folder, name, [_png(image[0]) for image in images], labels)
        _mnist(folder / name, "MNIST", draw)
        _mnist(folder / name, "FashionMNIST", draw)
    broken = [_png(np.full((8, 8), 7 * i, np.uint8)) for i in range(COUNT - 1)]
    _pictures(folder, "broken", [*broken, b"no picture"], np.arange(COUNT) % 3)
    content = bytearray((folder / "some.arrow").read_bytes())
    content[content.find(np.random.default_rng(0).integers(0, 256, 64).astype(np.uint8).tobytes())] ^= 1
    (folder / "damaged.arrow").write_bytes(content)
    return folder


def content_of(folder: Path) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """(base, other values) by kind of source."""
    held_out = {"held_out": 4}
    return {
        "digits": ({}, held_out),
        "arrow": ({"path": folder / "some.arrow"}, {
            **held_out, "path": folder / "other.arrow", "verify": When(True, {"path": folder / "damaged.arrow"})}),
        "edm_zip": ({"path": folder / "some.zip"}, {
            **held_out, "path": folder / "other.zip", "labelled": False, "on_bad": When("skip", {"path": folder / "broken.zip"})}),
        "image_folder": ({"root": folder / "some-folder"}, {
            **held_out, "root": folder / "other-folder", "on_bad": When("skip", {"root": folder / "broken-folder"})}),
        "latents": ({"path": folder / "some.safetensors"}, {
            **held_out, "path": folder / "other.safetensors", "scale": 2.0, "shift": 1.0}),
        "parquet": ({"path": folder / "some.parquet"}, {
            **held_out, "path": folder / "other.parquet", "image_column": "mirrored", "label_column": None, "limit": 6,
            "on_bad": When("skip", {"path": folder / "broken.parquet"})}),
        "torchvision": ({"name": "MNIST", "root": folder / "some"}, {
            **held_out, "name": "FashionMNIST", "root": folder / "other", "split": "test"}),
    }


def _png(pixels: np.ndarray) -> bytes:
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "png")
    return written.getvalue()


def _pictures(folder: Path, name: str, pngs: list[bytes], labels: np.ndarray) -> None:
    """The same pictures as a zip, a folder and a Parquet file."""
    with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
        for i, png in enumerate(pngs):
            archive.writestr(f"{i:02d}.png", png)
        archive.writestr("dataset.json", json.dumps({"labels": [[f"{i:02d}.png", int(label)] for i, label in enumerate(labels)]}))
    for i, (png, label) in enumerate(zip(pngs, labels, strict=True)):
        (folder / f"{name}-folder" / str(label)).mkdir(parents=True, exist_ok=True)
        (folder / f"{name}-folder" / str(label) / f"{i:02d}.png").write_bytes(png)
    columns = {"image": [{"bytes": png} for png in pngs], "mirrored": [{"bytes": png} for png in reversed(pngs)], "label": labels}
    pq.write_table(pa.table(columns), folder / f"{name}.parquet")


def _mnist(root: Path, name: str, draw: np.random.Generator) -> None:
    """Files of torchvision's MNIST: a magic number, sizes, bytes."""
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        images, labels = draw.integers(0, 256, (COUNT, 28, 28)).astype(np.uint8), (np.arange(COUNT) % 10).astype(np.uint8)
        for what, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = np.array([0x800 + array.ndim, *array.shape], dtype=">i4").tobytes()
            (raw / f"{part}-{what}-ubyte").write_bytes(header + array.tobytes())
