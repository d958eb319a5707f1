"""Learning rates: EDM2's against the reference, and those that fall to the end of training."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.conftest import tiny_fields
from trainables.errors import ConfigError, UserError
from trainables.optimisers.adam import Adam
from trainables.recipe import make_recipe
from trainables.stage_key import stage_key
from trainables.training import metrics_log
from trainables.training.loop import train

DIT = {"kind": "dit", "width": 16, "depth": 1, "heads": 2}


def test_learning_rates_equal_the_reference(golden_edm2) -> None:
    for case in golden_edm2["lr_schedule"]:
        adam = Adam(lr=case["ref_lr"], decay_after=int(case["ref_batches"] * case["batch"]), ramp_up=int(case["rampup_Mimg"] * 1e6))
        assert adam.learning_rate(case["cur_nimg"], 2**31) == pytest.approx(case["lr"], rel=1e-12)


@pytest.mark.parametrize("decay", ["constant", "inverse_sqrt"])
def test_no_decay_and_no_ramp_is_a_constant(decay: str) -> None:
    assert Adam(lr=0.3, decay=decay).learning_rate(0, 100) == Adam(lr=0.3, decay=decay).learning_rate(10**9, 10**10) == 0.3


def test_linear_and_cosine_fall_from_the_end_of_the_ramp_to_the_end_of_training() -> None:
    linear, cosine = (Adam(lr=2.0, decay=d, ramp_up=200, decay_to=0.1) for d in ("linear", "cosine"))
    for images, ramped in ((0, 0.0), (100, 1.0), (200, 2.0)):
        assert linear.learning_rate(images, 1000) == cosine.learning_rate(images, 1000) == ramped
    assert linear.learning_rate(600, 1000) == pytest.approx(2 * (0.1 + 0.9 / 2))
    assert cosine.learning_rate(400, 1000) == pytest.approx(2 * (0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2))
    assert linear.learning_rate(1000, 1000) == cosine.learning_rate(1000, 1000) == pytest.approx(0.2)
    late = Adam(lr=2.0, decay="linear", decay_after=800)  # constant, then down at the end
    assert [late.learning_rate(images, 1000) for images in (0, 800, 900, 1000)] == pytest.approx([2.0, 2.0, 1.0, 0.0])


@pytest.mark.parametrize(("fields", "words"), [
    ({"decay": "constant", "decay_after": 5}, "decay_after has no effect"), ({"decay_to": 0.1}, "decay_to has no effect"),
    ({"decay": "linear", "decay_after": 128_000}, "optimiser.decay_after must be below duration.images = 128000"),
    ({"decay": "cosine", "ramp_up": 128_000}, "optimiser.ramp_up must be below duration.images"),
])
def test_settings_without_an_effect_are_refused(fields: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_recipe({"optimiser": fields})


def key(cache: Path, images: int, optimiser: dict) -> str:
    return stage_key(make_recipe(tiny_fields(duration={"images": images, "batch_size": 32}, optimiser=optimiser)), cache)


@pytest.mark.parametrize(("decay", "counts"), [("constant", False), ("inverse_sqrt", False), ("linear", True), ("cosine", True)])
def test_the_length_counts_where_the_rate_depends_on_it(decay: str, counts: bool, tmp_path: Path) -> None:
    assert (key(tmp_path, 256, {"decay": decay}) != key(tmp_path, 512, {"decay": decay})) == counts


def test_a_longer_run_does_not_go_on_from_a_shorter_one_whose_rate_fell_sooner(tmp_path: Path, cache: Path) -> None:
    short, long = (
        make_recipe(tiny_fields(optimiser={"decay": "linear"}, network=DIT, duration={"images": n, "batch_size": 32})) for n in (128, 256))
    list(train(short, tmp_path / "run", cache))
    with pytest.raises(UserError, match="belongs to another recipe"):
        list(train(long, tmp_path / "run", cache))
    list(train(long, tmp_path / "long", cache))
    losses = {name: metrics_log.read(tmp_path / name)[0]["loss"] for name in ("run", "long")}
    assert losses["run"] != losses["long"]  # at the same number of images
    assert metrics_log.read(tmp_path / "long")[-1]["learning_rate"] == 0.0
