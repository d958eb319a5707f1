"""Training real digits: repeatable to the bit, resumable at any report, honest about non-finite losses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import tiny_fields
from trainables import metrics_log
from trainables.__main__ import main
from trainables.ema.snapshots import list_snapshots
from trainables.errors import TrainingFailed, UserError
from trainables.recipe import make_recipe
from trainables.sweep import sweep
from trainables.training import train


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def final_weights(folder: Path) -> np.ndarray:
    return np.concatenate([s.read().numpy() for s in list_snapshots(folder / "snapshots")[-2:]])


def test_same_recipe_same_bits_also_after_being_cut_off(tmp_path: Path, cache: Path) -> None:
    recipe = make_recipe(tiny_fields())
    whole = list(train(recipe, tmp_path / "a", cache))
    assert [p.images for p in whole] == [128, 256] and whole[-1].done
    again = train(recipe, tmp_path / "b", cache)
    next(again)
    again.close()  # as an early stop or a kill right after the report
    resumed = list(train(recipe, tmp_path / "b", cache))
    assert [p.images for p in resumed] == [256]
    assert resumed[-1].metrics["loss"] == whole[-1].metrics["loss"]
    assert (final_weights(tmp_path / "a") == final_weights(tmp_path / "b")).all()
    assert [r["images"] for r in metrics_log.read(tmp_path / "b")] == [128, 256]
    assert list(train(recipe, tmp_path / "b", cache)) == []  # finished: nothing is done again


def test_another_seed_gives_other_weights(tmp_path: Path, cache: Path) -> None:
    for seed in (0, 1):
        list(train(make_recipe(tiny_fields(seed=seed)), tmp_path / str(seed), cache))
    assert (final_weights(tmp_path / "0") != final_weights(tmp_path / "1")).any()


def test_loss_falls_and_sweep_scores_every_width(tmp_path: Path, cache: Path) -> None:
    recipe = make_recipe(tiny_fields(duration={"images": 4096, "batch_size": 32}, optimiser={"lr": 0.02}))
    reports = list(train(recipe, tmp_path, cache))
    assert reports[-1].metrics["loss"] < 0.75 * reports[0].metrics["loss"]  # a network that outputs 0 has loss 1
    points = sweep(recipe, tmp_path, cache, [0.05, 0.12])
    assert [p.sigma_rel for p in points] == [0.05, 0.12]
    assert all(np.isfinite(p.distance) and p.examples.shape == (64, 1, 8, 8) for p in points)
    assert points[0].profile_error < 1e-6 < points[1].profile_error < 0.05
    assert sweep(recipe, tmp_path, cache, [0.12])[0].distance == points[1].distance


@pytest.mark.parametrize("target", ["eps", "x0", "v", "flow"])
def test_every_target_trains(target: str, tmp_path: Path, cache: Path) -> None:
    fields = tiny_fields(target=target, weighting="min_snr", schedule="laplace", timesteps="stratified")
    assert all(np.isfinite(p.metrics["loss"]) for p in train(make_recipe(fields), tmp_path, cache))


def test_nonfinite_losses_are_counted_and_then_fail_the_run(tmp_path: Path, cache: Path, monkeypatch) -> None:
    from trainables.denoiser import Denoiser

    monkeypatch.setattr(Denoiser, "forward", lambda self, z, log_snr, labels: z * self.network.out_gain * float("nan"))
    with pytest.raises(TrainingFailed, match="3 steps had a non-finite loss"):
        list(train(make_recipe(tiny_fields(max_nonfinite_steps=2)), tmp_path, cache))


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path, cache: Path) -> None:
    list(train(make_recipe(tiny_fields()), tmp_path, cache))
    with pytest.raises(UserError, match="belongs to another recipe"):
        list(train(make_recipe(tiny_fields(seed=9)), tmp_path, cache))
    (tmp_path / "checkpoint.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match="cannot be read"):
        list(train(make_recipe(tiny_fields()), tmp_path, cache))


def test_two_processes_train_the_same_losses_as_one(tmp_path: Path, cache: Path) -> None:
    import subprocess
    import sys

    import yaml

    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(tiny_fields(seed=3)))
    for name, launcher in {"one": [], "two": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]}.items():
        command = [sys.executable, *launcher, "-m", "trainables", str(tmp_path / "recipe.yaml"), "--output", str(tmp_path / name),
                   "--cache", str(cache), "--threads", "1"]
        subprocess.run(command, check=True, capture_output=True, timeout=200)
    one, two = (metrics_log.read(tmp_path / name) for name in ("one", "two"))
    assert [r["images"] for r in one] == [r["images"] for r in two]
    np.testing.assert_allclose(final_weights(tmp_path / "one"), final_weights(tmp_path / "two"), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose([r["loss"] for r in one], [r["loss"] for r in two], rtol=1e-5)


def test_command_line_trains_scores_and_explains(tmp_path: Path, cache: Path, capsys) -> None:
    import yaml

    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(tiny_fields()))
    arguments = [str(tmp_path / "recipe.yaml"), "--output", str(tmp_path / "run"), "--cache", str(cache)]
    assert main([*arguments, "--sweep", "0.08"]) == 0
    assert "sigma_rel 0.08: fd_probe" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "run").iterdir()} >= {"recipe.json", "metrics.jsonl", "checkpoint.safetensors", "snapshots"}
    assert main([str(tmp_path / "none.yaml")]) == 2
    assert "cannot be read" in capsys.readouterr().err
