"""Every field that a recipe can have, and for each what it must change.

A `Look` computes numbers from settings: draws, weights, images, scores, stored averages.  A field counts if its other value, in settings
where it should matter, gives other numbers.
"""

from __future__ import annotations

import hashlib
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from trainables.method import Method, OfFamily, Settings
from trainables.recipe import FAMILIES, Recipe

Look = Callable[[Any], Any]  # from settings of one class to numbers


@dataclass(frozen=True)
class When:
    """A value that matters beside other fields."""

    value: Any
    beside: dict[str, Any]


@dataclass(frozen=True)
class Fields:
    """What is known of the fields of one class of settings: `values` are other ones than those of `base` with the class's defaults."""

    cls: type[Settings]
    look: Look
    values: dict[str, Any]  # a value, or When
    base: dict[str, Any] = field(default_factory=dict)

    def fingerprints(self, name: str) -> tuple[str, str, str]:
        """Of the numbers before the change, before it once more, and after it."""
        given = self.values[name]
        change = given if isinstance(given, When) else When(given, {})
        before = {**self.base, **change.beside}
        made = [self.cls.model_validate(fields) for fields in (before, before, {**before, name: change.value})]
        assert made[0] != made[2], f"{self.cls.__name__}.{name}: is {change.value!r} already"
        key = (id(self), repr(made[0]))
        if key not in _BEFORE:
            _BEFORE[key] = (fingerprint(self.look(made[0])), fingerprint(self.look(made[1])))
        return *_BEFORE[key], fingerprint(self.look(made[2]))


_BEFORE: dict[tuple[int, str], tuple[str, str]] = {}  # fields of one class share what they are compared with


def settings_classes() -> Iterator[type[Settings]]:
    """Every class whose fields can be part of a recipe, each once."""
    waiting: list[type[BaseModel]] = [Recipe, *(cls for kinds in FAMILIES.values() for cls in kinds.values())]
    found: dict[type[BaseModel], None] = {}
    while waiting:
        cls = waiting.pop()
        if cls in found or _interface(cls):
            continue
        found[cls] = None
        waiting += [part for info in cls.model_fields.values() for part in _classes(info.annotation)]
    yield from typing.cast("dict[type[Settings], None]", found)


def fields_of(cls: type[BaseModel]) -> list[str]:
    """Names of the fields that hold values; those that hold settings stand for the fields of these."""
    return [name for name, info in cls.model_fields.items()
            if name != "kind" and not _of_family((info.annotation, *info.metadata)) and all(map(_interface, _classes(info.annotation)))]


def _of_family(parts: tuple[Any, ...]) -> bool:
    return any(isinstance(part, OfFamily) or _of_family(typing.get_args(part)) for part in parts)


def _interface(cls: type[BaseModel]) -> bool:
    """Whether it is of a family, and none of its kinds, which have the fields."""
    return issubclass(cls, Method) and "kind" not in cls.model_fields


def _classes(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _classes(part)


def fingerprint(value: Any) -> str:
    """The same for the same numbers, bit by bit."""
    digest = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, torch.Tensor):
            part = part.detach().cpu().numpy()
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode() + np.ascontiguousarray(part).tobytes())
        elif isinstance(part, Mapping):
            for name, inner in sorted(part.items()):
                digest.update(str(name).encode())
                add(inner)
        elif isinstance(part, list | tuple):
            digest.update(f"{len(part)}(".encode())
            for inner in part:
                add(inner)
        else:
            assert isinstance(part, str | int | float | bool | bytes | Path | None), f"{type(part)} is no number"
            digest.update(repr(part).encode())

    add(value)
    return digest.hexdigest()
