"""Which images are kept out of training, and that nothing but held-out losses sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import tiny_fields
from trainables.data.arrow import Arrow
from trainables.data.arrow_file import write_arrow
from trainables.data.digits import Digits
from trainables.data.held_out import Rows
from trainables.errors import ConfigError
from trainables.recipe import make_recipe
from trainables.training.inputs import Inputs
from trainables.training.ranks import Ranks


def rows(images: np.ndarray) -> list[bytes]:
    return [image.tobytes() for image in np.asarray(images)]


def test_a_share_or_number_of_images_is_kept_out_and_nothing_is_lost() -> None:
    whole, few, share = Digits().load(), Digits(held_out=97), Digits(held_out=0.1)
    train, held_out = few.load(), few.load_held_out()
    assert few.load() is train  # once per process
    assert held_out is not None and len(held_out.images) == 97 and len(train.images) == 1700
    assert sorted(rows(train.images) + rows(held_out.images)) == sorted(rows(whole.images))
    more = share.load_held_out()
    assert more is not None and len(more.images) == 180 and rows(more.images)[:97] == rows(held_out.images)
    assert Digits().load_held_out() is None
    assert len({whole.key, train.key, held_out.key, more.key}) == 4


def test_both_parts_keep_their_labels_and_the_scale_of_the_whole() -> None:
    whole, source = Digits().load(), Digits(held_out=0.25)
    label_of = dict(zip(rows(whole.images), whole.labels.tolist(), strict=True))
    for part in (source.load(), source.load_held_out()):
        assert part is not None and [label_of[row] for row in rows(part.images)] == part.labels.tolist()
        np.testing.assert_array_equal(part.statistics, whole.statistics)
        assert part.classes == 10 and part.peak == 16 and part.pictures and part.shape == (1, 8, 8)
        assert (part.raw(part.whitened(np.arange(20))) == part.images[:20]).all()


def test_parts_of_a_mapped_file_are_not_copied(tmp_path: Path) -> None:
    write_arrow(Digits().load(), tmp_path / "digits.arrow")
    parts = Arrow(path=str(tmp_path / "digits.arrow"), held_out=0.1), Digits(held_out=0.1)
    assert rows(parts[0].load().images) == rows(parts[1].load().images)
    assert isinstance(parts[0].load().images, Rows)


def test_impossible_parts_are_explained() -> None:
    with pytest.raises(ConfigError, match=r"1797 of 1797 images would leave none"):
        Digits(held_out=1797).load()
    with pytest.raises(ConfigError, match=r"2.5 is neither a share below 1 nor a whole number"):
        make_recipe({"data": {"kind": "digits", "held_out": 2.5}})


def test_training_never_sees_a_held_out_image() -> None:
    recipe = make_recipe(tiny_fields(data={"kind": "digits", "held_out": 0.5}))
    data, held_out = recipe.data.load(), recipe.data.load_held_out()
    assert held_out is not None
    seen = set()
    for images in range(0, 1024, 32):
        seen |= set(rows(data.raw(Inputs(recipe, data, Ranks()).batch(images).clean)))
    assert len(seen) > 800 and not seen & (set(rows(held_out.images)) - set(rows(data.images)))
