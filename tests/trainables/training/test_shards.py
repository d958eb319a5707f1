"""Shards train as replicas do, in the same files, and go on from a break."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import tiny_fields
from tests.trainables.training.test_training import final_weights
from trainables.errors import ConfigError
from trainables.recipe import Recipe, make_recipe
from trainables.training import metrics_log
from trainables.training.loop import train
from trainables.training.ranks import Ranks

CASES: dict[str, dict[str, Any]] = {
    "edm2": {"arithmetic": {"micro_batch": 8}, "optimiser": {"clip_norm": 1.0, "eps": 1e-3}, "weighting": "uncertainty"},
    "dit": {"network": {"kind": "dit", "width": 16, "depth": 2, "heads": 2},
            "optimiser": {"kind": "adamw", "weight_decay": 0.1, "eps": 1e-3},
            "arithmetic": {"activation_checkpointing": True},
            "ema": {"snapshot_every": 64, "classical": [{"half_life": 50}]}},
}


def recipe_of(name: str, parallel: str) -> Recipe:
    fields = tiny_fields(**CASES[name])
    fields["arithmetic"] = {**fields["arithmetic"], "parallel": parallel}
    fields["evaluation"] = {**fields["evaluation"], "features": "pixels"}
    return make_recipe(fields)


@pytest.mark.parametrize("changes", [
    {"weighting": "ugd"}, {"diagnostics_every": 32}, {"timesteps": "adaptive"}, {"arithmetic": {"parallel": "shards", "compile": True}},
], ids=str)
def test_what_shards_cannot_do_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"arithmetic\.parallel: shards cannot be combined with"):
        make_recipe(tiny_fields(**{"arithmetic": {"parallel": "shards"}, **changes}))


def _process(rank: int, folder: str, cache: str) -> None:
    """Of two: trains whole, and with a break."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    ranks = Ranks(rank, 2)
    for name in CASES:
        for parallel in ("replicas", "shards"):
            list(train(recipe_of(name, parallel), Path(folder) / name / parallel, Path(cache), ranks))
        next(cut := train(recipe_of(name, "shards"), Path(folder) / name / "broken", Path(cache), ranks))
        cut.close()
        list(train(recipe_of(name, "shards"), Path(folder) / name / "broken", Path(cache), ranks))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_train_shards_as_replicas(tmp_path: Path, cache: Path) -> None:
    torch.multiprocessing.spawn(_process, (str(tmp_path), str(cache)), nprocs=2)
    for name in CASES:
        replicas, shards, broken = (tmp_path / name / how for how in ("replicas", "shards", "broken"))
        for one, other in zip(metrics_log.read(replicas), metrics_log.read(shards), strict=True):
            for metric in ("loss", "gradient_norm", "interim_fd_pixels"):
                assert other[metric] == pytest.approx(one[metric], rel=1e-5 if metric == "loss" else 1e-3)
        states = [load_file(folder / "checkpoint.safetensors") for folder in (replicas, shards)]
        assert {n: v.shape for n, v in states[0].items()} == {n: v.shape for n, v in states[1].items()}
        np.testing.assert_allclose(final_weights(shards), final_weights(replicas), rtol=1e-3, atol=1e-4)
        files = [sorted(p.name for p in (folder / "snapshots").iterdir()) for folder in (replicas, shards, broken)]
        assert files[0] == files[1] == files[2]
        assert (final_weights(broken) == final_weights(shards)).all()
