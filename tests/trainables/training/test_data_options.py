"""What may be done with the data, together with what may be done in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import tiny_fields
from trainables.data.digits import Digits
from trainables.ema.snapshots import list_snapshots
from trainables.ema.sweep_settings import Sweep
from trainables.evaluation.cost import network_cost
from trainables.evaluation.sweep import sweep
from trainables.recipe import make_recipe
from trainables.training import metrics_log
from trainables.training.inputs import Inputs
from trainables.training.loop import train
from trainables.training.ranks import Ranks

ADAPTIVE = {"kind": "adaptive", "levels": 8, "update_every": 2, "chosen": 2, "queue": 4}


def trained(folder: Path, cache: Path, **changes: Any) -> tuple[list[float], np.ndarray]:
    """(losses, last averages) of a tiny run."""
    list(train(make_recipe(tiny_fields(**changes)), folder, cache))
    last = list_snapshots(folder / "snapshots")[-2:]
    return [row["loss"] for row in metrics_log.read(folder)], np.concatenate([s.file.read().numpy() for s in last])


@pytest.mark.parametrize("augment", [{"kind": "flips", "probability": 0.0}, {"kind": "flips"}, {"kind": "edm"}], ids=str)
def test_augmentation_changes_training_unless_it_is_neutral(augment: dict, tmp_path: Path, cache: Path) -> None:
    plain, changed = (trained(tmp_path / str(i), cache, **c) for i, c in enumerate(({}, {"augment": augment})))
    assert (plain[0] == changed[0]) == (augment.get("probability") == 0.0)


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("changes", [
    {"timesteps": ADAPTIVE, "network": {"kind": "dit", "width": 16, "depth": 1, "heads": 2}},
    {"weighting": {"kind": "uncertainty", "base": {"kind": "ugd", "every": 2}}, "diagnostics_every": 64},
    {"arithmetic": {"micro_batch": 8}, "timesteps": "loss_second_moment"},
], ids=["adaptive", "ugd", "parts"])
def test_the_pipe_trains_and_resumes_with_every_reader_of_labels(changes: dict, conditional: bool, tmp_path: Path, cache: Path) -> None:
    recipe = make_recipe(tiny_fields(augment="edm", conditional=conditional, **changes))
    whole = list(train(recipe, tmp_path / "a", cache))
    again = train(recipe, tmp_path / "b", cache)
    next(again)
    again.close()
    assert list(train(recipe, tmp_path / "b", cache))[-1].metrics["loss"] == whole[-1].metrics["loss"]
    point = sweep(recipe, tmp_path / "a", cache, Sweep(sigma_rels=(0.1,))).points[0]
    assert np.isfinite(point.distance)


def test_parts_of_a_batch_and_ranks_see_the_same_augmented_images() -> None:
    recipe = make_recipe(tiny_fields(augment="edm", label_dropout=0.5))
    data = Digits().load()
    whole = Inputs(recipe, data, Ranks()).batch(64)
    halves = [Inputs(recipe, data, Ranks(rank, 2)).batch(64) for rank in range(2)]
    for name in ("clean", "labels"):
        assert torch.equal(torch.cat([getattr(half, name) for half in halves]), getattr(whole, name))
    assert whole.labels is not None
    dropped = ~whole.labels[:, :10].any(1)
    assert dropped.any() and whole.labels[dropped, 10:].any()  # dropping the class does not hide the augmentation


def test_unconditional_training_sees_no_labels_and_has_no_weights_for_them(tmp_path: Path, cache: Path) -> None:
    told, untold = (make_recipe(tiny_fields(conditional=c)) for c in (True, False))
    assert Inputs(untold, Digits().load(), Ranks()).batch(0).labels is None
    assert network_cost(untold)["parameters"] < network_cost(told)["parameters"]
    list(train(untold, tmp_path, cache))
    points = sweep(untold, tmp_path, cache, Sweep(sigma_rels=(0.1,))).points
    assert points[0].metrics.keys() >= {"fd_probe"}  # the feature network may use the labels all the same
