"""Training real digits: repeatable to the bit, resumable at any report, honest about non-finite losses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import tiny_fields
from trainables.__main__ import main
from trainables.ema.snapshots import list_snapshots
from trainables.ema.sweep_settings import Sweep
from trainables.errors import ConfigError, TrainingFailed, UserError
from trainables.evaluation.sweep import sweep
from trainables.recipe import make_recipe
from trainables.training import metrics_log
from trainables.training.loop import train


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def final_weights(folder: Path) -> np.ndarray:
    return np.concatenate([s.file.read().numpy() for s in list_snapshots(folder / "snapshots")[-2:]])


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
    assert list(train(recipe, tmp_path / "b", cache)) == resumed[-1:]  # finished: told again, not done again


def test_the_interim_score_is_the_best_of_the_tracked_widths_and_every_step_gives_a_sign_of_life(tmp_path: Path, cache: Path) -> None:
    signs: list[int] = []
    for widths in ([0.05], [0.2], [0.05, 0.2]):
        recipe = make_recipe(tiny_fields(ema={"sigma_rels": widths, "snapshot_every": 64}))
        list(train(recipe, tmp_path / str(widths), cache, pulse=lambda: signs.append(1)))
    one, other, both = (metrics_log.read(tmp_path / str(w)) for w in ([0.05], [0.2], [0.05, 0.2]))
    for a, b, c in zip(one, other, both, strict=True):
        best = min((a, b), key=lambda row: row["interim_fd_probe"])
        assert (c["interim_fd_probe"], c["interim_sigma_rel"]) == (best["interim_fd_probe"], best["interim_sigma_rel"])
    assert len(signs) >= 3 * 8 + 8 and len(both[0]["feature_hash"]) == 64
    before = len(signs)
    point = sweep(recipe, tmp_path / str([0.05, 0.2]), cache, Sweep(sigma_rels=(0.1,)), pulse=lambda: signs.append(1)).points[0]
    assert len(signs) == before + 1 and point.feature_hash == both[0]["feature_hash"]


def test_a_longer_run_reports_what_it_would_have_reported_without_the_shorter_one(tmp_path: Path, cache: Path) -> None:
    for images in (192, 256):  # the first ends between two reports of the second
        list(train(make_recipe(tiny_fields(duration={"images": images, "batch_size": 32})), tmp_path / "grown", cache))
    list(train(make_recipe(tiny_fields()), tmp_path / "whole", cache))
    grown, whole = (metrics_log.read(tmp_path / name)[-1] for name in ("grown", "whole"))
    assert {k: v for k, v in grown.items() if "second" not in k and k != "time"} == {
        k: v for k, v in whole.items() if "second" not in k and k != "time"}


def test_another_seed_gives_other_weights(tmp_path: Path, cache: Path) -> None:
    for seed in (0, 1):
        list(train(make_recipe(tiny_fields(seed=seed)), tmp_path / str(seed), cache))
    assert (final_weights(tmp_path / "0") != final_weights(tmp_path / "1")).any()


def test_loss_falls_and_sweep_scores_every_width(tmp_path: Path, cache: Path) -> None:
    recipe = make_recipe(tiny_fields(duration={"images": 4096, "batch_size": 32}, optimiser={"lr": 0.02}))
    reports = list(train(recipe, tmp_path, cache))
    assert reports[-1].metrics["loss"] < 0.75 * reports[0].metrics["loss"]  # a network that outputs 0 has loss 1
    points = sweep(recipe, tmp_path, cache, Sweep(sigma_rels=(0.05, 0.12))).points
    assert [p.sigma_rel for p in points] == [0.05, 0.12]
    assert all(np.isfinite(p.distance) and p.examples.shape == (64, 1, 8, 8) for p in points)
    assert points[0].profile_error < 1e-6 < points[1].profile_error < 0.05
    assert sweep(recipe, tmp_path, cache, Sweep(sigma_rels=(0.12,))).points[0].distance == points[1].distance


@pytest.mark.parametrize("target", ["eps", "x0", "v", "flow"])
def test_every_target_trains(target: str, tmp_path: Path, cache: Path) -> None:
    fields = tiny_fields(target=target, weighting="min_snr", schedule="laplace", timesteps="stratified")
    assert all(np.isfinite(p.metrics["loss"]) for p in train(make_recipe(fields), tmp_path, cache))


def test_nonfinite_losses_are_counted_and_then_fail_the_run(tmp_path: Path, cache: Path, monkeypatch) -> None:
    from trainables.networks.modules.denoiser import Denoiser

    monkeypatch.setattr(Denoiser, "forward", lambda self, z, log_snr, labels: z * self.network.out_gain * float("nan"))
    with pytest.raises(TrainingFailed, match="4 steps had a non-finite loss or gradient by 128 images"):
        list(train(make_recipe(tiny_fields(max_nonfinite_steps=2)), tmp_path, cache))


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path, cache: Path) -> None:
    list(train(make_recipe(tiny_fields()), tmp_path, cache))
    with pytest.raises(UserError, match="belongs to another recipe"):
        list(train(make_recipe(tiny_fields(seed=9)), tmp_path, cache))


@pytest.mark.parametrize("changes", [
    {"weighting": {"kind": "ugd", "every": 2}, "timesteps": {"kind": "loss_second_moment", "cells": 4, "history": 1}},
    {"timesteps": {"kind": "adaptive", "levels": 16, "update_every": 2}},
    pytest.param({"augment": "edm", "data": {"kind": "digits", "held_out": 0.1}, "weighting": "uncertainty"}, marks=pytest.mark.slow),
], ids=["ugd", "adaptive", "augmented"])
def test_two_processes_train_the_same_losses_as_one(changes: dict, tmp_path: Path, cache: Path) -> None:
    import subprocess
    import sys

    import yaml

    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(tiny_fields(seed=3, **changes)))
    for name, launcher in {"one": [], "two": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]}.items():
        command = [sys.executable, *launcher, "-m", "trainables", str(tmp_path / "recipe.yaml"), "--output", str(tmp_path / name),
                   "--cache", str(cache), "--threads", "1"]
        subprocess.run(command, check=True, capture_output=True, timeout=200)
    one, two = (metrics_log.read(tmp_path / name) for name in ("one", "two"))
    assert [r["images"] for r in one] == [r["images"] for r in two]
    if "weighting" in changes:
        np.testing.assert_allclose(final_weights(tmp_path / "one"), final_weights(tmp_path / "two"), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose([r["loss"] for r in one], [r["loss"] for r in two], rtol=1e-5)
        np.testing.assert_allclose([r["interim_fd_probe"] for r in one], [r["interim_fd_probe"] for r in two], rtol=1e-2)
    assert np.isfinite([r["loss"] for r in two]).all()


def test_command_line_trains_scores_and_explains(tmp_path: Path, cache: Path, capsys) -> None:
    import yaml

    fields = tiny_fields(ema={"snapshot_every": 64, "classical": [{"decay": 0.5}]})
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(fields))
    arguments = [str(tmp_path / "recipe.yaml"), "--output", str(tmp_path / "run"), "--cache", str(cache)]
    assert main([*arguments, "--sweep", "0.08"]) == 0
    printed = capsys.readouterr().out
    assert "sigma_rel 0.08: fd_probe" in printed and "classical average decay_0.5: fd_probe" in printed
    assert {p.name for p in (tmp_path / "run").iterdir()} >= {"recipe.json", "metrics.jsonl", "checkpoint.safetensors", "snapshots"}
    assert main([str(tmp_path / "none.yaml")]) == 2
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("policy", [
    {"kind": "loss_second_moment", "cells": 4, "history": 1}, {"kind": "speed"},
    {"kind": "adaptive", "levels": 16, "update_every": 2, "chosen": 2, "queue": 4},
], ids=lambda p: p["kind"])
def test_learning_policies_resume_bit_for_bit(policy: dict, tmp_path: Path, cache: Path) -> None:
    recipe = make_recipe(tiny_fields(timesteps=policy, schedule="cosine", target="v"))
    whole = list(train(recipe, tmp_path / "a", cache))
    cut = train(recipe, tmp_path / "b", cache)
    next(cut)
    cut.close()
    resumed = list(train(recipe, tmp_path / "b", cache))
    assert resumed[-1].metrics["loss"] == whole[-1].metrics["loss"]
    assert (final_weights(tmp_path / "a") == final_weights(tmp_path / "b")).all()
    if policy["kind"] != "speed":
        assert np.mean([v for k, v in whole[-1].metrics.items() if k.startswith("density/")]) == pytest.approx(1)
    if policy["kind"] == "adaptive":  # per update 2 (16 + 32 * 2) evaluations, each 2 steps of 32 images
        assert whole[-1].metrics["policy/extra_evaluations_per_image"] == pytest.approx(2 * (16 + 64) / 64)


@pytest.mark.parametrize("weighting", ["uncertainty", {"kind": "ugd", "every": 2}], ids=["uncertainty", "ugd"])
def test_learned_weightings_resume_bit_for_bit(weighting, tmp_path: Path, cache: Path) -> None:
    recipe = make_recipe(tiny_fields(weighting=weighting))
    whole = list(train(recipe, tmp_path / "a", cache))
    cut = train(recipe, tmp_path / "b", cache)
    next(cut)
    cut.close()
    assert list(train(recipe, tmp_path / "b", cache))[-1].metrics["loss"] == whole[-1].metrics["loss"]
    plain = list(train(make_recipe(tiny_fields()), tmp_path / "c", cache))
    assert plain[-1].metrics["loss"] != whole[-1].metrics["loss"]


def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path: Path, cache: Path) -> None:
    for name, arithmetic in {"whole": {}, "parts": {"micro_batch": 8}, "scaled": {"loss_scaling": 64.0}}.items():
        list(train(make_recipe(tiny_fields(arithmetic=arithmetic)), tmp_path / name, cache))
    for name in ("parts", "scaled"):
        np.testing.assert_allclose(final_weights(tmp_path / "whole"), final_weights(tmp_path / name), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_compiled_network_trains_the_same(tmp_path: Path, cache: Path) -> None:
    """With accumulation, forced norm and checkpointing."""
    parts = {"micro_batch": 16, "activation_checkpointing": True}
    eager = list(train(make_recipe(tiny_fields(arithmetic=parts)), tmp_path / "eager", cache))
    compiled = list(train(make_recipe(tiny_fields(arithmetic={**parts, "compile": "default"})), tmp_path / "compiled", cache))
    assert compiled[-1].metrics["loss"] == pytest.approx(eager[-1].metrics["loss"], rel=1e-4)


def test_captured_graphs_are_refused_without_a_gpu(tmp_path: Path, cache: Path) -> None:
    assert make_recipe(tiny_fields(arithmetic={"compile": True})).arithmetic.compile == "default"
    with pytest.raises(ConfigError, match="max-autotune captures CUDA graphs"):
        next(train(make_recipe(tiny_fields(arithmetic={"compile": "max-autotune"})), tmp_path, cache))
    with pytest.raises(ConfigError, match=r"arithmetic\.compile"):
        make_recipe(tiny_fields(arithmetic={"compile": "fast"}))


def test_half_precision_trains(tmp_path: Path, cache: Path) -> None:
    full = list(train(make_recipe(tiny_fields()), tmp_path / "full", cache))
    half = list(train(make_recipe(tiny_fields(arithmetic={"precision": "bf16"})), tmp_path / "half", cache))
    assert half[-1].metrics["loss"] == pytest.approx(full[-1].metrics["loss"], rel=0.02)


def test_importance_correction_keeps_the_expected_loss_of_the_base_density(tmp_path: Path, cache: Path) -> None:
    common = {"duration": {"images": 2048, "batch_size": 64}, "optimiser": {"lr": 1e-9}, "ema": {"snapshot_every": 2048}}
    weighting = {"kind": "min_snr", "gamma": 1}  # bounded on x0: an untrained network's loss is the mean of min(SNR, 1)
    plain = tiny_fields(**common, schedule={"kind": "laplace", "b": 1.0}, weighting=weighting, target="x0")
    other = tiny_fields(**common, schedule={"kind": "laplace", "b": 2.0}, importance_base={"kind": "laplace", "b": 1.0},
                        weighting=weighting, target="x0")
    for fields in (plain, other):
        fields["evaluation"] = {**fields["evaluation"], "every": 2048}
    losses = [list(train(make_recipe(f), tmp_path / str(i), cache))[-1].metrics["loss"] for i, f in enumerate((plain, other))]
    assert losses[0] == pytest.approx(0.75, rel=0.05) and losses[1] == pytest.approx(losses[0], rel=0.05)
    corrected = make_recipe(other)
    levels = corrected.schedule.sample(400_000, 0)
    ratio = np.exp(corrected.importance_base.log_prob(levels) - corrected.schedule.log_prob(levels))
    assert ratio.mean() == pytest.approx(1, abs=0.01)


def test_diagnostics_show_each_noise_level(tmp_path: Path, cache: Path) -> None:
    common = {"network": {**tiny_fields()["network"], "dropout": 0.2}}
    quiet = list(train(make_recipe(tiny_fields(**common)), tmp_path / "quiet", cache))
    looking = make_recipe(tiny_fields(**common, diagnostics_every=256))
    loud = list(train(looking, tmp_path / "loud", cache))
    cut = train(looking, tmp_path / "cut", cache)
    next(cut)
    cut.close()
    resumed = list(train(looking, tmp_path / "cut", cache))[-1].metrics
    assert {k: v for k, v in resumed.items() if "second" not in k} == {k: v for k, v in loud[-1].metrics.items() if "second" not in k}
    levels = {k: v for k, v in quiet[-1].metrics.items() if k.startswith("loss_by_level/")}
    assert levels and levels == {k: v for k, v in loud[-1].metrics.items() if k.startswith("loss_by_level/")}
    assert (final_weights(tmp_path / "quiet") == final_weights(tmp_path / "loud")).all()  # looking changes nothing
    names = {key.split("/")[0] for key in loud[-1].metrics}
    assert {"loss", "loss_by_level", "grad_norm", "grad_variance", "grad_cosine", "weight_rms", "activation_rms"} <= names
    assert all(np.isfinite(v) for v in loud[-1].metrics.values())
    assert -1 <= loud[-1].metrics["grad_cosine/mean"] <= 1
    assert "grad_norm" not in {key.split("/")[0] for key in quiet[-1].metrics}


@pytest.mark.parametrize("guidance", [{"weight": 1.5}, {"weight": 1.5, "by": "weaker", "weaker_share": 0.25}], ids=["own", "weaker"])
def test_guided_evaluation_differs_from_plain(guidance: dict, tmp_path: Path, cache: Path) -> None:
    fields = tiny_fields(label_dropout=0.1)
    recipe = make_recipe(fields)
    list(train(recipe, tmp_path, cache))
    fields["evaluation"] = {**fields["evaluation"], "guidance": guidance}
    plain, with_guide = (sweep(r, tmp_path, cache, Sweep(sigma_rels=(0.1,))).points[0] for r in (recipe, make_recipe(fields)))
    assert plain.distance != with_guide.distance
