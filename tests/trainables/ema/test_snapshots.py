"""Stored averages: ranges, checksums, reconstruction from real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from trainables.ema.reconstruct import reconstruct
from trainables.ema.snapshots import list_snapshots, load_vector, write_snapshot
from trainables.ema.tracker import PowerEma
from trainables.errors import UserError


def test_reconstruction_from_files_matches_directly_followed_averages(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3))
    targets = (0.06, 0.13, 0.2)
    tracked, direct = PowerEma(net, (0.05, 0.1)), PowerEma(net, targets)
    names = [n for n, _ in net.named_parameters()]
    for step in range(1, 257):
        with torch.no_grad():
            for p in net.parameters():
                p.add_(0.05 * torch.randn_like(p))
        tracked.update(step, 1)
        direct.update(step, 1)
        if step % 8 == 0:
            for width, tensors in tracked.averages.items():
                write_snapshot(tmp_path, step, width, tensors, names)
    result = reconstruct(list_snapshots(tmp_path), targets)
    for k, width in enumerate(targets):
        expected = torch.cat([p.flatten() for p in direct.averages[width]]).numpy()
        assert np.linalg.norm(result.vectors[k] - expected) / np.linalg.norm(expected) < 5e-3
    load_vector(result.vectors[1], net)
    assert torch.allclose(net[0].weight.flatten(), torch.from_numpy(result.vectors[1][:48]))


def test_ranges_and_checksums(tmp_path: Path) -> None:
    values = [torch.arange(12.0).reshape(3, 4), torch.full((5,), 7.0)]
    path = write_snapshot(tmp_path, 640, 0.05, values, ["a", "b"])
    (snapshot,) = list_snapshots(tmp_path)
    assert (snapshot.images, snapshot.sigma_rel, snapshot.size) == (640, 0.05, 17)
    assert snapshot.read(10, 14).tolist() == [10, 11, 7, 7] and snapshot.verify()
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 1
    path.write_bytes(damaged)
    assert not snapshot.verify()
    path.write_bytes(damaged[:50])
    with pytest.raises(UserError, match="cannot be read"):
        list_snapshots(tmp_path)


def test_a_vector_of_another_network_is_refused() -> None:
    with pytest.raises(UserError, match="different recipes"):
        load_vector(torch.zeros(3), nn.Linear(2, 2))
