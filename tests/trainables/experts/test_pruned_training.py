"""Pruned widths in a recipe, with all that training does around a network: optimisers, averages, checkpoints, snapshots."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch

from tests.conftest import tiny_fields
from trainables.ema.snapshots import list_snapshots, load_vector
from trainables.errors import ConfigError
from trainables.networks.modules.build import build_denoiser
from trainables.networks.modules.forced_norm import ForcedNorm
from trainables.networks.modules.magnitude import MPConv
from trainables.recipe import make_recipe
from trainables.stage_key import stage_key
from trainables.training import metrics_log
from trainables.training.loop import train

_EDM2 = {
    "kind": "edm2", "channels": 8, "mult": [1, 2], "blocks": 1, "attention": [4], "channels_per_head": 8,
    "widths": {"encoder/8_block0/hidden": 5, "decoder/4_in0/hidden": 9, "decoder/4_in0/heads": 1, "decoder/8_up/hidden": 1},
}
NETWORKS = {
    "edm2 with nadam": (_EDM2, {"kind": "nadam"}),
    "edm2 with group norm and sgd": ({**_EDM2, "normalisation": "group"}, {"kind": "sgd", "lr": 1e-4}),
    "edm2 with standard norm and adamw": ({**_EDM2, "weight_norm": "standard"}, {"kind": "adamw", "weight_decay": 0.1}),
    "adm with radam": ({**_EDM2, "kind": "adm", "dropout": 0.1}, {"kind": "radam", "lr": 1e-3}),
    "dit with adam": (
        {"kind": "dit", "width": 32, "depth": 2, "heads": 4, "widths": {"blocks/0/heads": 3, "blocks/1/mlp": 24}},
        {"kind": "adam", "lr": 1e-3}),
}


SLOW = ("edm2 with standard norm and adamw", "adm with radam")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in NETWORKS])
def test_a_pruned_network_trains_goes_on_and_is_averaged(name: str, tmp_path: Path, cache: Path) -> None:
    network, optimiser = NETWORKS[name]
    recipe = make_recipe(tiny_fields(network=network, optimiser=optimiser, diagnostics_every=128))
    list(train(recipe, tmp_path / "whole", cache))
    list(itertools.islice(train(recipe, tmp_path / "broken off", cache), 1))
    list(train(recipe, tmp_path / "broken off", cache))
    losses = [[row["loss"] for row in metrics_log.read(tmp_path / run)] for run in ("whole", "broken off")]
    assert losses[0] == losses[1] and all(map(math.isfinite, losses[0]))
    files = [{s.file.location.rpartition("/")[2]: s.file.checksums for s in list_snapshots(tmp_path / run / "snapshots")}
             for run in ("whole", "broken off")]
    assert files[0] == files[1]

    denoiser = build_denoiser(recipe, recipe.data.load())
    load_vector(list_snapshots(tmp_path / "whole" / "snapshots")[-1].file.read(), denoiser)
    ForcedNorm(denoiser)()
    with torch.no_grad():
        assert torch.isfinite(denoiser(torch.randn(2, 1, 8, 8), torch.zeros(2), torch.eye(10)[:2])).all()
    for layer in (m for m in denoiser.modules() if isinstance(m, MPConv) and m.norm == "forced" and m.removed is not None):
        whole = layer.weight.detach().flatten(1).square().sum(1) + layer.removed.square()
        torch.testing.assert_close(whole, torch.full_like(whole, layer.fan_in), rtol=1e-3, atol=0.0)


def test_widths_are_part_of_what_decides_a_result(cache: Path) -> None:
    full, narrow = (make_recipe(tiny_fields(network={**_EDM2, "widths": widths})) for widths in ({}, _EDM2["widths"]))
    assert full.key != narrow.key and stage_key(full, cache) != stage_key(narrow, cache)


@pytest.mark.parametrize(("widths", "message"), [
    ({"encoder/8_block0/hidden": 0}, "greater than or equal to 1"), ({"encoder/8_block0/hidden": 2.5}, "whole number"),
    ("narrow", "a mapping"),
])
def test_widths_that_are_none_are_explained(widths: object, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"network\.widths.*{message}"):
        make_recipe(tiny_fields(network={**_EDM2, "widths": widths}))


@pytest.mark.parametrize(("widths", "message"), [
    ({"encoder/8_block0/hidden": 9}, "9 of 'encoder/8_block0/hidden' were given, but there are 8"),
    ({"encoder/8_block/hidden": 2}, "has no 'encoder/8_block/hidden'.*encoder/8_block0/hidden"),
])
def test_widths_of_another_network_are_explained(widths: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_recipe(tiny_fields(network={**_EDM2, "widths": widths}))
