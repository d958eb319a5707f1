"""A method is one class: its searchable settings and its maths together.

Every file beside a family's interface is found by itself, so that a new method is a new file and nothing else.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from trainables.errors import ConfigError, did_you_mean
from trainables.explanations import explain

Array = Any  # a numpy array or a torch tensor: the maths of schedules and weightings takes both


class Settings(BaseModel):
    """Frozen, typed settings: unknown keys, NaN and infinity are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class Method(Settings):
    """Settings that name their own kind; subclasses give `kind: Literal["name"] = "name"` and the maths."""


M = TypeVar("M", bound=Method)


def searchable(default: Any, *, low: float, high: float, log: bool = False, **field: Any) -> Any:
    """A field with a default search range, which a study may ask for with `auto`."""
    return Field(default, json_schema_extra={"search": {"low": low, "high": high, "log": log}}, **field)


def kinds_in(package: str, interface: type[M]) -> dict[str, type[M]]:
    """Import every module of a package and return its methods by kind, in order of name."""
    path = importlib.import_module(package).__path__
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")
    found: dict[str, type[M]] = {}
    waiting = [interface]
    while waiting:
        cls = waiting.pop()
        waiting.extend(cls.__subclasses__())
        if "kind" in cls.model_fields and cls.__module__.startswith(package + "."):
            found[cls.model_fields["kind"].default] = cls
    return dict(sorted(found.items()))


def one_of(kinds: Mapping[str, type[Method]], default: str | None = None) -> Any:
    """The pydantic type of a field that holds any of these methods; a bare name stands for its defaults.

    `default` is the kind of settings that do not name theirs.
    """
    classes = list(kinds.values())
    union = reduce(or_, classes)
    tagged = Annotated[union, Field(discriminator="kind")] if len(classes) > 1 else union


    def with_kind(value: Any) -> Any:
        if isinstance(value, str):
            return {"kind": value}
        return {"kind": default, **value} if default and isinstance(value, Mapping) else value

    return Annotated[tagged, BeforeValidator(with_kind)]


def build(kinds: Mapping[str, type[M]], family: str, name: str, params: Mapping[str, Any]) -> M:
    """Make a method by name; a wrong name or parameter is a ConfigError that says what is allowed."""
    if name not in kinds:
        raise ConfigError(f"{family}: '{name}' is not known. Allowed: {', '.join(kinds)}.{did_you_mean(name, kinds)}")
    # A 0-d tensor or array is a number here (a known trap: gamma given as an integer tensor).
    values = {key: value.item() if hasattr(value, "item") else value for key, value in params.items()}
    try:
        return kinds[name](**values)
    except ValidationError as error:
        raise ConfigError(explain(error, f"{family} {name}", kinds[name])) from None
