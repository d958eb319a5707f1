"""Stored averages: layout, ranges, checksums, formats, remote storage, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.conftest import tiny_fields
from trainables.ema import flat_file
from trainables.ema.reconstruct import Target, plan
from trainables.ema.snapshots import keep_snapshots, list_snapshots, load_vector, write_snapshot
from trainables.errors import ConfigError, UserError
from trainables.recipe import make_recipe

VALUES = [torch.arange(12.0).reshape(3, 4), torch.full((5,), 7.0)]


@pytest.mark.parametrize("remote", [False, True], ids=["disk", "fsspec"])
def test_any_range_can_be_read_alone(remote: bool, tmp_path: Path) -> None:
    folder = f"memory://{tmp_path.name}" if remote else tmp_path
    write_snapshot(folder, 640, 0.05, VALUES, ["a", "b"], [v + 2 for v in VALUES])
    (snapshot,) = list_snapshots(folder)
    assert (snapshot.images, snapshot.sigma_rel, snapshot.size, snapshot.lag) == (640, 0.05, 17, 2.0)
    assert snapshot.rms == pytest.approx(np.sqrt(np.mean(np.concatenate([v.flatten() for v in VALUES]) ** 2)))
    assert snapshot.file.read(10, 14).tolist() == [10, 11, 7, 7] and snapshot.file.verify()


def test_files_are_plain_safetensors(tmp_path: Path) -> None:
    path = write_snapshot(tmp_path, 640, 0.05, VALUES, ["a", "b"], dtype="fp16")
    vector = load_file(path)["vector"]
    assert vector.dtype == torch.float16 and vector[-1] == 7


def test_every_block_has_a_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat_file, "BLOCK", 4)
    path = Path(write_snapshot(tmp_path, 640, 0.05, VALUES, ["a", "b"]))
    (snapshot,) = list_snapshots(tmp_path)
    assert len(snapshot.file.checksums) == 5 and snapshot.file.verify()
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 1
    path.write_bytes(damaged)
    assert not snapshot.file.verify()


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = Path(write_snapshot(tmp_path, 640, 0.05, VALUES, ["a", "b"]))
    whole = path.read_bytes()
    for content in (whole[:50], whole[:-1], b"", b"\xff" * 100, whole[:8] + b"}" + whole[9:]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"images-000000000640.*cannot be read"):
            list_snapshots(tmp_path)


def test_what_cannot_be_stored_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="do not fit into fp16"):
        write_snapshot(tmp_path, 1, 0.05, [torch.full((3,), 1e5)], ["a"], dtype="fp16")
    with pytest.raises(UserError, match="NaN or infinity"):
        write_snapshot(tmp_path, 1, 0.05, [torch.tensor([1.0, float("nan")])], ["a"])
    with pytest.raises(ConfigError, match="Allowed: fp32, fp16"):
        write_snapshot(tmp_path, 1, 0.05, VALUES, ["a", "b"], dtype="bf16")
    assert list(tmp_path.iterdir()) == []


def test_bf16_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match=r"ema\.snapshot_format.*bf16 keeps 8 bits"):
        make_recipe(tiny_fields(ema={"snapshot_format": "bf16"}))


@pytest.mark.parametrize(("keep", "left"), [("all", [100, 200, 300]), ("last", [300]), ("none", [])])
def test_only_what_is_to_be_kept_stays(keep: str, left: list[int], tmp_path: Path) -> None:
    for images in (100, 200, 300):
        write_snapshot(tmp_path, images, 0.05, VALUES, ["a", "b"])
    assert len(keep_snapshots(tmp_path, keep)) == 3 - len(left)
    assert [s.images for s in list_snapshots(tmp_path)] == left


def test_a_vector_of_another_network_is_refused() -> None:
    with pytest.raises(UserError, match="different recipes"):
        load_vector(torch.zeros(3), nn.Linear(2, 2))


def test_reconstructed_widths_with_one_file_name_are_refused(tmp_path: Path) -> None:
    for width in (0.05, 0.1):
        for images in (64, 128):
            write_snapshot(tmp_path, images, width, [torch.full((3,), width * images)], ["weight"])
    stored = list_snapshots(tmp_path)
    with pytest.raises(ConfigError, match=r"sigma_rel 0.07: .*use widths that differ"):
        plan(stored, [Target(0.07, 128), Target(0.07004, 128)]).save(tmp_path / "out")
    assert len(plan(stored, [Target(0.07, 128), Target(0.0701, 128)]).save(tmp_path / "out")) == 2
