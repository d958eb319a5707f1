"""Labels of generated images keep to the data's shares, at every length."""

from __future__ import annotations

import numpy as np
import pytest

from trainables.evaluation.labels import LabelSequence


@pytest.mark.parametrize(("classes", "concentration"), [(1, 1.0), (2, 0.2), (4, 1.0), (7, 10.0), (30, 0.3), (100, 1.0)])
def test_every_beginning_has_the_shares_of_the_data_to_less_than_one_image(classes: int, concentration: float) -> None:
    draw = np.random.default_rng(classes)
    data = draw.choice(classes, size=3000, p=draw.dirichlet(np.full(classes, concentration)))
    found = LabelSequence(data, classes, seed=0)(0, 400)
    counts = np.cumsum(np.eye(classes)[found], axis=0)
    shares = np.bincount(data, minlength=classes) / len(data)
    assert np.abs(counts - np.arange(1, 401)[:, None] * shares).max() < 1
    assert set(found) <= set(data)


def test_images_are_of_different_classes_where_there_are_fewer_images_than_classes() -> None:
    data = np.arange(3000) % 1000
    found = [LabelSequence(data, 1000, seed)(0, 512) for seed in (0, 1)]
    assert all(len(set(labels)) == 512 for labels in found)
    assert set(found[0]) != set(found[1])


def test_labels_are_a_function_of_the_index_and_the_seed() -> None:
    data = np.array([0] * 70 + [1] * 25 + [2] * 5)
    whole = LabelSequence(data, 3, seed=0)(0, 50)
    other = LabelSequence(data, 3, seed=0)
    np.testing.assert_array_equal(np.concatenate([other(30, 20), other(0, 30)]), np.concatenate([whole[30:], whole[:30]]))
    assert LabelSequence(np.zeros(0, np.int64), 0, seed=0)(0, 0).tolist() == []
