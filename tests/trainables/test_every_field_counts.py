"""No field of a recipe is accepted and ignored: each has a line in a table that says what it must change, or a reason why nothing."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.trainables.fields import of_draws, of_experts, of_images, of_training
from tests.trainables.fields.field_table import Fields, fields_of, settings_classes
from trainables.duration import Duration

TABLE: list[Fields] = [*of_draws.FIELDS, *of_training.FIELDS, *of_images.FIELDS, *of_experts.FIELDS]
NO_NUMBERS = {
    "Arithmetic.micro_batch": "memory alone: the gradient is that of the whole batch, to rounding",
    "Arithmetic.compile": "speed alone",
    "Arithmetic.activation_checkpointing": "memory alone: see test_activation_checkpointing",
    "Arithmetic.parallel": "memory alone: see test_shards",
    "Arithmetic.deterministic": "which algorithms a GPU may use: see test_determinism",
    "Evaluation.compile": "speed alone",
    "Evaluation.batch_size": "memory alone: an image is the same in any batch, to rounding",
    "Recipe.plugins": "where methods are found, and not which are in use",
    "Torchvision.download": "whether files are fetched, and not what they hold",
}
LINES = [
    pytest.param(fields, name, id=f"{fields.cls.__name__}.{name}", marks=[pytest.mark.slow] if fields in of_experts.SLOW else [])
    for fields in (*TABLE, *of_experts.SLOW) for name in fields.values
]


def test_every_field_has_a_line() -> None:
    known = {f"{cls.__name__}.{name}" for cls in settings_classes() for name in fields_of(cls)}
    lines = {line.id for line in LINES} | NO_NUMBERS.keys()
    assert known - lines == set(), "say in tests/trainables/fields what these must change"
    assert lines - known == set(), "there are no such fields"
    assert max(Counter(cls.__name__ for cls in settings_classes()).values()) == 1


@pytest.mark.parametrize(("fields", "name"), LINES)
def test_a_field_changes_what_it_should(fields: Fields, name: str) -> None:
    first, again, after = fields.fingerprints(name)
    assert first == again, "the same settings must give the same numbers"
    assert first != after, "accepted and ignored"


class _WithMore(Duration):
    ignored: int = 0


def test_a_new_field_is_noticed() -> None:
    assert "ignored" in fields_of(_WithMore)
    first, again, after = Fields(_WithMore, lambda duration: duration.images, {"ignored": 1}).fingerprints("ignored")
    assert first == again == after
