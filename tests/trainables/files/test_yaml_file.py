"""Files as people write them: what cannot be read is one message with its place."""

from __future__ import annotations

import pytest
import yaml

from trainables.errors import ConfigError
from trainables.files.yaml_file import parse_mapping, parse_value

BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))


@pytest.mark.parametrize(("text", "words"), [
    ("a: " + "[" * 300 + "]" * 300, "nested more than 40 levels deep"),
    ("a: " + "{b: " * 300 + "1" + "}" * 300, "nested more than 40 levels deep"),
    ("\n".join(" " * i + "a:" for i in range(300)), "nested more than 40 levels deep"),
    ("a: &a [1, *a]", "alias"),
    (BOMB, "aliases"),
    ("\n".join(f"a{i}: &a{i} " + "[" * 30 + (f"*a{i - 1}" if i else "1") + "]" * 30 for i in range(9)), "levels deep"),
    ("a: 1\na: 2", "given twice"),
    ("? [1, 2]\n: 3", "YAML"),
    ("2020-01-01: 3", "date is used as a name"),
    ("a: 2024-13-45", "month"),
    ("a: 0x" + "f" * 9_999, "more than 100 characters"),
    ("a: " + "9" * 9_999, "more than 100 characters"),
    ('a: "\\ud800"', "character"),
    ('a: "\\0"', "character"),
    ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
    ("a: !!binary x", "YAML"),
    ("- 1", "must be a mapping"),
    ("", "must be a mapping"),
])
def test_what_cannot_be_read_is_one_message(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_mapping(text, "study s.yaml")
    assert str(caught.value).startswith("study s.yaml") and words in str(caught.value)


def test_numbers_are_numbers() -> None:
    assert parse_value("[1e-3, -2E+3, 1.5e-3, 3, 1e, e3]", "x") == [1e-3, -2e3, 1.5e-3, 3, "1e", "e3"]


def test_an_alias_may_be_used_often() -> None:
    assert parse_mapping("a: &a {b: [1, 2]}\nc: *a\nd: [*a, *a]", "x")["d"] == [{"b": [1, 2]}] * 2


def test_words_that_older_yaml_takes_for_truth_values_are_words() -> None:
    text = "{on: v, off: no, yes: [true, False], y: 1e-3}"
    assert parse_mapping(text, "here") == {"on": "v", "off": "no", "yes": [True, False], "y": 1e-3}
    assert yaml.safe_load("on: off") == {True: False}  # PyYAML's own loader is as it was
