"""Classical averages as baselines: their weights, files, resumption, and scores beside the post-hoc widths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from orchestrator.execution.sweep_tasks import run_sweep
from tests.conftest import tiny_fields
from tests.trainables.training.test_training import final_weights
from trainables.ema import decay_to_sigma_rel, half_life_to_sigma_rel, ramp_to_sigma_rel
from trainables.ema.classical_average import ClassicalAverage
from trainables.ema.classical_snapshots import PATTERN, classical_name, read_classical
from trainables.ema.classical_tracker import ClassicalEmas
from trainables.ema.snapshots import keep_snapshots
from trainables.ema.sweep_settings import Sweep
from trainables.errors import ConfigError, Damaged
from trainables.evaluation.sweep import sweep
from trainables.recipe import Recipe, make_recipe
from trainables.training import metrics_log
from trainables.training.loop import train
from trainables.training.resume import check_trained, cut_back

AVERAGES = [{"decay": 0.5}, {"half_life": 64}, {"half_life": 10**6, "ramp_up": 0.05}]
NAMES = ["decay_0.5", "half_life_64", "half_life_1000000_ramp_up_0.05"]
DIT = {"kind": "dit", "width": 16, "depth": 1, "heads": 2}
PIXELS = {**tiny_fields()["evaluation"], "features": "pixels"}


def recipe_of(averages: list[dict], images: int = 256) -> Recipe:
    return make_recipe(tiny_fields(
        network=DIT, evaluation=PIXELS, ema={"snapshot_every": 64, "classical": averages}, duration={"images": images, "batch_size": 32}))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    list(train(recipe_of(AVERAGES), folder, cache))
    return folder


@pytest.mark.parametrize(("settings", "width"), [
    ({"half_life": 3000}, half_life_to_sigma_rel(3000, 64_000)), ({"half_life": 30_000}, half_life_to_sigma_rel(30_000, 64_000)),
    ({"decay": 0.999}, decay_to_sigma_rel(0.999, 4000)), ({"half_life": 10**9, "ramp_up": 0.05}, ramp_to_sigma_rel(0.05)),
    ({"half_life": 3000, "ramp_up": 0.5}, half_life_to_sigma_rel(3000, 64_000)),
], ids=str)
def test_widths_are_those_of_the_formulas(settings: dict, width: float) -> None:
    assert ClassicalAverage(**settings).sigma_rel(64_000, 16) == pytest.approx(width, rel=3e-3)


@pytest.mark.parametrize("settings", AVERAGES, ids=str)
def test_the_average_is_the_weighted_sum_of_the_weights(settings: dict) -> None:
    average, module = ClassicalAverage(**settings), nn.Linear(2, 1, bias=False)
    followed, weights, kept = ClassicalEmas(module, [average]), [module.weight.detach().clone()], []
    for step in range(1, 9):
        with torch.no_grad():
            module.weight.copy_(torch.randn(1, 2))
        followed.update(32 * step, 32)
        weights.append(module.weight.detach().clone())
        half_life = min(settings.get("half_life", 0), settings.get("ramp_up", np.inf) * 32 * (step - 1))
        kept.append(settings.get("decay", 2.0 ** (-32 / half_life) if half_life else 0.0))
    shares = [np.prod(kept)] + [(1 - kept[i]) * np.prod(kept[i + 1:]) for i in range(8)]
    expected = sum(share * weight for share, weight in zip(shares, weights, strict=True))
    torch.testing.assert_close(followed.averages[average.name][0], expected.float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("averages", "words"), [
    ([{}], "give either decay or half_life"), ([{"decay": 0.9, "half_life": 5}], "give either"), ([{"decay": 1.0}], "less than 1"),
    ([{"decay": 0.9, "ramp_up": 0.1}], "ramp_up bounds half_life"), ([{"decay": 0.9}, {"decay": 0.9}], "may be given once"),
])
def test_what_cannot_be_meant_is_refused(averages: list[dict], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        recipe_of(averages)


def test_following_them_changes_nothing_else_and_resumes_bit_for_bit(trained: Path, tmp_path: Path, cache: Path) -> None:
    list(train(recipe_of([]), tmp_path / "plain", cache))
    assert (final_weights(tmp_path / "plain") == final_weights(trained)).all()
    assert not list((tmp_path / "plain" / "snapshots").glob(PATTERN))
    cut = train(recipe_of(AVERAGES), tmp_path / "cut", cache)
    next(cut)
    cut.close()
    list(train(recipe_of(AVERAGES), tmp_path / "cut", cache))
    last = [read_classical(trained / "snapshots", 256, name) for name in NAMES]
    for name, vector in zip(NAMES, last, strict=True):
        assert torch.equal(vector, read_classical(tmp_path / "cut" / "snapshots", 256, name))
    assert not torch.equal(last[0], last[1])
    cut_back(tmp_path / "cut", 128)
    assert sorted(int(p.name.split("-")[1]) for p in (tmp_path / "cut" / "snapshots").glob(PATTERN)) == [64] * 3 + [128] * 3


def test_they_are_scored_beside_the_widths_and_a_sweep_s_best_is_never_one_of_them(trained: Path, cache: Path) -> None:
    recipe, wanted = recipe_of(AVERAGES), Sweep(sigma_rels=(0.05, 0.1), times=(0.5, 1.0))
    found = sweep(recipe, trained, cache, wanted)
    assert [(c.images, c.name) for c in found.classical] == [(t, name) for t in (128, 256) for name in NAMES]
    assert found.evaluations == 4 + 6 and len(found.points) == 4
    distances = [c.score.distance for c in found.classical]
    assert np.isfinite(distances).all() and len(set(distances)) == 6
    plain = sweep(make_recipe(recipe.model_dump() | {"ema": {**recipe.ema.model_dump(), "classical": ()}}), trained, cache, wanted)
    assert [p.distance for p in plain.points] == [p.distance for p in found.points] and plain.classical == ()
    record = run_sweep(str(trained), 0, wanted.model_dump_json(), True, str(cache), 1, 0.0)
    assert [(row["name"], row["images"], row["distance"]) for row in record.classical] == [
        (c.name, c.images, c.score.distance) for c in found.classical]
    assert record.best in record.points and record.classical[0]["metrics"]["fd_pixels"] == record.classical[0]["distance"]


def test_an_average_that_is_lost_or_damaged_is_noticed(tmp_path: Path, cache: Path) -> None:
    recipe = recipe_of([{"decay": 0.5}], images=128)
    list(train(recipe, tmp_path / "run", cache))
    before = read_classical(tmp_path / "run" / "snapshots", 64, "decay_0.5")
    path = Path(classical_name(tmp_path / "run" / "snapshots", 64, "decay_0.5"))
    content = bytearray(path.read_bytes())
    content[-9] ^= 16
    path.write_bytes(content)
    with pytest.raises(Damaged, match=r"decay_0\.5.*does not match its checksums"):
        read_classical(tmp_path / "run" / "snapshots", 64, "decay_0.5")
    list(train(recipe, tmp_path / "run", cache))  # begins at the start
    assert torch.equal(read_classical(tmp_path / "run" / "snapshots", 64, "decay_0.5"), before)
    assert [row["images"] for row in metrics_log.read(tmp_path / "run")] == [128]
    path.unlink()
    with pytest.raises(Damaged, match=r"decay_0\.5"):
        check_trained(tmp_path / "run", recipe)


@pytest.mark.parametrize(("keep", "left"), [("all", 6), ("last", 3), ("none", 0)])
def test_they_are_kept_as_long_as_the_others(keep: str, left: int, tmp_path: Path, cache: Path) -> None:
    list(train(recipe_of(AVERAGES, images=128), tmp_path, cache))
    keep_snapshots(tmp_path / "snapshots", keep)
    assert len(list((tmp_path / "snapshots").glob(PATTERN))) == left
