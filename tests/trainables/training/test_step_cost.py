"""What a training step asks of the device beside the network itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import tiny_fields
from tests.operators import OUTSIDE, one_step
from trainables.recipe import make_recipe
from trainables.training.loop import Run
from trainables.training.ranks import Ranks

READS = {"aten._local_scalar_dense.default", "aten.nonzero.default", "aten.item.default"}


@pytest.mark.parametrize("changes", [
    {}, {"timesteps": "stratified", "label_dropout": 0.5}, {"arithmetic": {"precision": "bf16"}}, {"target": "v", "weighting": "min_snr"},
    {"optimiser": {"clip_norm": 1.0}}, {"weighting": "uncertainty"},
], ids=str)
def test_no_step_waits_for_the_device(changes: dict, tmp_path: Path, cache: Path) -> None:
    run = Run(make_recipe(tiny_fields(**changes)), tmp_path, cache, Ranks())
    seen = one_step(run)
    run.close()
    assert not READS & (seen.network.keys() | seen.outside.keys())


@pytest.mark.parametrize("blocks", [1, 3])
def test_operators_beside_the_network_do_not_grow_with_it(blocks: int, tmp_path: Path, cache: Path) -> None:
    fields = tiny_fields()
    run = Run(make_recipe({**fields, "network": {**fields["network"], "blocks": blocks}}), tmp_path, cache, Ranks())
    seen = one_step(run)
    run.close()
    assert seen.outside.total() <= OUTSIDE
    assert seen.network.total() > 10 * seen.outside.total()
