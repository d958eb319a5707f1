"""Reconstruction from real files of real and simulated trajectories, against averages that were followed directly."""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import tiny_fields
from trainables.ema import reconstruct
from trainables.ema.averages import Averages, node_widths
from trainables.ema.profile import power_function_beta
from trainables.ema.reconstruct import Plan, Target, plan
from trainables.ema.snapshots import list_snapshots, write_snapshot
from trainables.ema.tracker import PowerEma
from trainables.errors import ConfigError, UserError
from trainables.recipe import make_recipe
from trainables.training.loop import Run
from trainables.training.ranks import Ranks

WIDTHS = (0.015, 0.03, 0.08, 0.13, 0.2, 0.25)
SIZE = 3 * reconstruct._TILE + 17


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, dict[float, np.ndarray]]:
    """(folder of stored averages, path of the weights, averages followed directly) of a Brownian path of 1,024 steps."""
    folder = tmp_path_factory.mktemp("walk")
    path = 1.0 + 0.02 * np.cumsum(np.random.default_rng(0).standard_normal((1024, 64)), axis=0)
    averages = {w: np.zeros(64) for w in {*WIDTHS, 0.05, 0.1}}
    for step, weights in enumerate(path, start=1):
        for width, average in averages.items():
            beta = power_function_beta(width, step, 1)
            average *= beta
            average += (1 - beta) * weights
        if step % 16 == 0:
            for width in (0.05, 0.1):
                stored = torch.from_numpy(averages[width]).float()
                write_snapshot(folder, step, width, [stored], ["w"], [torch.from_numpy(weights).float()])
                write_snapshot(folder / "fp16", step, width, [stored], ["w"], [torch.from_numpy(weights).float()], "fp16")
    return folder, path, averages


def _errors(made: Plan, direct: dict[float, np.ndarray]) -> np.ndarray:
    pairs = zip(made.targets, made.vectors(), strict=True)
    return np.array([np.linalg.norm(v - direct[t.sigma_rel]) / np.linalg.norm(direct[t.sigma_rel]) for t, v in pairs])


def test_errors_on_a_random_walk_lie_within_the_predictions(walk) -> None:
    folder, _, direct = walk
    targets = [Target(w, 1024) for w in WIDTHS]
    found = {}
    for solver in ("reference", "robust"):
        for stored in ("", "fp16"):
            made = plan(list_snapshots(folder / stored), targets, solver)
            found[solver, stored] = _errors(made, direct)
    # Six widths from 64 x 2 averages; the weights have norm 1, and the walk's drift is a tenth of that.
    assert (found["reference", ""] < [5e-3, 1e-3, 2e-4, 2e-4, 1e-3, 5e-3]).all()
    assert (found["robust", ""] <= 1.2 * found["reference", ""]).all()
    assert (found["robust", ""][-2:] < 0.5 * found["reference", ""][-2:]).all()
    # fp16: the published solver multiplies rounding at short widths, the robust one does not.
    assert (found["robust", "fp16"] <= 1.1 * found["reference", "fp16"]).all()
    assert found["robust", "fp16"][0] < 0.7 * found["reference", "fp16"][0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> tuple[Path, int, dict[float, np.ndarray]]:
    """(folder, images, averages followed directly) of a real small training, 64 times x 2 widths stored in fp32 and fp16."""
    folder, images = tmp_path_factory.mktemp("trained"), 8_192
    ema = {"sigma_rels": [0.05, 0.1], "snapshot_every": images // 64}
    network = {"kind": "edm2", "channels": 8, "mult": [1], "blocks": 1, "attention": []}
    recipe = make_recipe(tiny_fields(network=network, ema=ema, duration={"images": images, "batch_size": 16}, evaluation={"every": images}))
    run = Run(recipe, folder, cache, Ranks())
    direct, update = PowerEma(run.model.denoiser, WIDTHS), run.model.ema.update
    names = [n for n, _ in run.model.denoiser.named_parameters()]

    def follow(seen: int, step: int) -> None:
        update(seen, step)
        direct.update(seen, step)
        if seen % recipe.ema.snapshot_every == 0:
            for width, average in run.model.ema.averages.items():
                write_snapshot(folder / "fp16", seen, width, average, names, list(run.model.denoiser.parameters()), "fp16")

    run.model.ema.update = follow  # type: ignore[method-assign]
    run.train_until(images)
    return folder, images, {w: torch.cat([p.flatten() for p in tensors]).numpy() for w, tensors in direct.averages.items()}


def test_errors_on_a_real_training_lie_within_the_published_tables(trained) -> None:
    folder, images, direct = trained
    targets = [Target(w, images) for w in WIDTHS]
    found = {(solver, stored): _errors(plan(list_snapshots(folder / stored), targets, solver), direct)
             for solver in ("reference", "robust") for stored in ("snapshots", "fp16")}
    # 64 x 2 averages of an Adam-trained network: the rows of the table for storage without and with fp16 rounding, and a tenth more.
    assert (found["reference", "snapshots"] < 1.1 * np.array([1.3e-4, 1.1e-5, 4.3e-7, 6.4e-7, 4.7e-5, 1.4e-3])).all()
    assert (found["reference", "fp16"] < 1.1 * np.array([6.8e-3, 1.2e-3, 2.1e-4, 1.9e-4, 1.4e-4, 1.4e-3])).all()
    assert (found["robust", "snapshots"] < [1.3e-4, 3e-5, 2e-6, 2e-6, 1e-5, 4e-5]).all()
    assert (found["robust", "fp16"] < [1.5e-3, 1e-3, 2.5e-4, 2e-4, 1.5e-4, 1.5e-4]).all()
    assert (found["robust", "fp16"] <= found["reference", "fp16"]).all()


def test_any_width_between_the_nodes_is_synthesised_with_the_stated_error(trained) -> None:
    folder, images, direct = trained
    made = plan(list_snapshots(folder / "snapshots"), [Target(w, images) for w in node_widths(0.015, 0.25, 9)])
    averages = Averages(made, made.vectors())
    for width in WIDTHS:
        vector, trust = averages.at(width, images)
        error = np.linalg.norm(vector - direct[width]) / np.linalg.norm(direct[width])
        assert error < 3e-4 and trust.profile_error < 0.03
        assert error < trust.profile_error
    with pytest.raises(ConfigError, match="outside what was reconstructed"):
        averages.at(0.26, images)
    with pytest.raises(ConfigError, match="outside"):
        averages.at(0.1, images - 1)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Averages of four times and two widths, of a size that fills no tile."""
    for images in (10, 20, 30, 40):
        for width in (0.05, 0.1):
            values = torch.randn(SIZE, generator=torch.Generator().manual_seed(images + int(100 * width)))
            write_snapshot(tmp_path, images, width, [values], ["w"])
    return tmp_path


def test_several_times_and_widths_come_from_one_product(stored: Path) -> None:
    snapshots = list_snapshots(stored)
    made = plan(snapshots, [Target(0.07, 40), Target(0.12, 20), Target(0.1, 30)], "reference")
    content = np.stack([s.file.read().numpy() for s in made.snapshots]).astype(np.float64)
    np.testing.assert_allclose(made.vectors(), made.coefficients.T @ content, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(made.vectors()[2], snapshots[5].file.read(), atol=1e-5)  # stored as it is
    assert made.coefficients[4:, 1].tolist() == [0, 0, 0, 0]  # nothing later than the target


def test_the_only_stored_average_is_itself(stored: Path) -> None:
    (only,) = [s for s in list_snapshots(stored) if s.images == 10 and s.sigma_rel == 0.05]
    np.testing.assert_allclose(plan([only], [Target(0.05, 10)], "reference").vectors()[0], only.file.read(), atol=1e-6)


def test_ranges_of_parameters_are_the_parts_of_the_whole(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan(list_snapshots(stored), [Target(0.07, 40), Target(0.12, 40)])
    monkeypatch.setattr(reconstruct, "BLOCK", 4096)
    monkeypatch.setattr(Plan, "_check", lambda *_: None)  # the files were written with longer blocks
    ranges = made.ranges(3)
    assert ranges[0][0] == 0 and ranges[-1][1] == SIZE and all(a[1] == b[0] for a, b in pairwise(ranges))
    np.testing.assert_array_equal(np.concatenate([made.vectors(*r) for r in ranges], axis=1), made.vectors())
    assert len(made.ranges(100)) == 4
    assert made.vectors(SIZE, SIZE).shape == (len(made.targets), 0)  # of a task for which nothing is left


def test_every_product_has_the_same_shape_and_strides(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a matrix library may take another kernel for the end of a range, and round otherwise."""
    made = plan(list_snapshots(stored), [Target(0.07, 40), Target(0.12, 40)])
    shapes, mm = set(), torch.mm

    def watched(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        shapes.add((a.shape, b.shape, b.stride(), out.shape, out.stride()))
        return mm(a, b, out=out)

    monkeypatch.setattr(torch, "mm", watched)
    monkeypatch.setattr(reconstruct, "BLOCK", 2 * 4096)
    monkeypatch.setattr(Plan, "_check", lambda *_: None)  # the files were written with longer blocks
    for start, stop in [(0, SIZE), (0, 8192), (8192, SIZE), (8192, 8200)]:
        made.vectors(start, stop)
    assert len(shapes) == 1


def test_saved_averages_are_stored_averages(stored: Path, tmp_path: Path) -> None:
    made = plan(list_snapshots(stored), [Target(0.07, 40), Target(0.12, 40)])
    made.save(tmp_path / "out")
    again = list_snapshots(tmp_path / "out")
    assert [s.sigma_rel for s in again] == [0.07, 0.12] and again[0].file.metadata["solver"] == "robust"
    np.testing.assert_array_equal(again[1].file.read(), made.vectors()[1])


def test_damage_is_found_on_the_way(stored: Path) -> None:
    victim = sorted(stored.glob("*.safetensors"))[2]
    content = bytearray(victim.read_bytes())
    content[-1000] ^= 4
    victim.write_bytes(content)
    with pytest.raises(UserError, match=f"{victim.name}.*is damaged"):
        plan(list_snapshots(stored), [Target(0.07, 40)]).vectors()


def test_what_is_not_to_be_trusted_is_said(stored: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        made = plan(list_snapshots(stored), [Target(0.01, 40), Target(0.08, 40)])
    assert "sigma_rel 0.01 at 40 images" in caplog.text and "ema.snapshot_every" in caplog.text
    assert "sigma_rel 0.08" not in caplog.text and made.reliability[0].profile_error > 0.1


def test_averages_of_different_networks_are_refused(stored: Path) -> None:
    write_snapshot(stored, 50, 0.05, [torch.zeros(3)], ["w"])
    with pytest.raises(ConfigError, match="networks of different sizes"):
        plan(list_snapshots(stored), [Target(0.07, 40)])
    with pytest.raises(ConfigError, match="no stored averages"):
        plan([], [Target(0.07, 40)])
