"""Counting by torch on the real network against the function of widths."""

from __future__ import annotations

import random

import pytest

from tests.trainables.experts.networks import CLASSES, NETWORKS, SHAPE
from trainables.experts.macs import macs, macs_by_width


@pytest.mark.parametrize("classes", [0, CLASSES])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_function_of_widths_equals_the_count(name: str, classes: int) -> None:
    choose = random.Random(0)
    settings = NETWORKS[name]
    cost = macs_by_width(settings, SHAPE, classes)
    assert cost.full == macs(settings, SHAPE, classes)
    for _ in range(3):
        widths = {unit: choose.randint(1, count) for unit, count in cost.units.items() if choose.random() < 0.8}
        assert cost(widths) == macs(settings.model_copy(update={"widths": widths}), SHAPE, classes)


def test_a_layer_is_counted_as_its_shape_says() -> None:
    settings = NETWORKS["dit"]
    hidden, tokens, width = 128, 16, 32
    assert macs_by_width(settings, SHAPE, 0).per_unit["blocks/0/mlp"] * hidden == 2 * tokens * width * hidden
    per_head = width // 4
    assert macs_by_width(settings, SHAPE, 0).per_unit["blocks/0/heads"] == tokens * (4 * width * per_head + 2 * tokens * per_head)
