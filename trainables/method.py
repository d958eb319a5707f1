"""A method is one class: its searchable settings and its maths together.

Every file beside a family's interface is found by itself, so that a new method is a new file and nothing else.  Methods of plug-ins are
looked up when settings are validated, so that they stand beside ours wherever they come from.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from trainables.errors import ConfigError, did_you_mean
from trainables.explanations import explain
from trainables.plugins import entry_points
from trainables.plugins.registry import FAMILIES, Plugin, active, methods_of

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


class Family(Mapping[str, type[M]]):
    """The methods of a family by kind: ours, then those of the plug-ins at hand, then those of installed packages."""

    def __init__(self, interface: type[M], ours: Mapping[str, type[M]]) -> None:
        self.interface, self.ours = interface, ours
        self._known: dict[tuple[Plugin, ...], dict[str, type[M]]] = {}  # ours with those of sets of plug-ins
        FAMILIES[interface] = self

    def __getitem__(self, kind: str) -> type[M]:
        return self.beside(kind)[kind]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._installed(), **self.at_hand})

    def __len__(self) -> int:
        return len(list(iter(self)))

    def beside(self, kind: Any) -> dict[str, type[M]]:
        """Methods by kind; those of installed packages only where this kind is not among the others."""
        at_hand = self.at_hand
        return at_hand if not isinstance(kind, str) or kind in at_hand else {**self._installed(kind), **at_hand}

    @property
    def at_hand(self) -> dict[str, type[M]]:
        """Without those that only installed packages bring."""
        plugins = active()
        if plugins not in self._known:
            self._known[plugins] = {**self.ours, **dict(methods_of(self.interface, plugins))}
        return self._known[plugins]

    def _installed(self, wanted: str = "") -> dict[str, type[M]]:
        """ConfigError where two packages bring what is wanted."""
        found: dict[str, tuple[type[M], Plugin]] = {}
        for plugin in entry_points.installed().plugins:
            for kind, cls in methods_of(self.interface, (plugin,)):
                other = found.setdefault(kind, (cls, plugin))
                if other[0] is not cls and kind == wanted:
                    names = f"{other[1].name} and {plugin.name}"
                    raise ConfigError(f"'{kind}' is a method of both installed packages {names}: name one of them in plugins")
        return {kind: cls for kind, (cls, _) in found.items()}


def kinds_in(package: str, interface: type[M]) -> Family[M]:
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
    return Family(interface, dict(sorted(found.items())))


def one_of(kinds: Mapping[str, type[Method]], default: str | None = None) -> Any:
    """The pydantic type of a field that holds any of these methods; a bare name stands for its defaults.

    `default` is the kind of settings that do not name theirs.
    """

    def with_kind(value: Any) -> Any:
        if isinstance(value, str):
            return {"kind": value}
        return {"kind": default, **value} if default and isinstance(value, Mapping) else value

    if isinstance(kinds, Family):
        return Annotated[kinds.interface, OfFamily(kinds, with_kind)]
    return Annotated[_union(tuple(kinds.values())), BeforeValidator(with_kind)]


class OfFamily:
    """Validates by the methods that are known when it is asked."""

    def __init__(self, family: Family[Any], with_kind: Callable[[Any], Any]) -> None:
        self._family, self._with_kind = family, with_kind

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(_adapter(tuple(self._family.values())).core_schema)

    def _validate(self, value: Any) -> Any:
        fields = self._with_kind(value)
        kind = fields.get("kind") if isinstance(fields, Mapping) else None
        return _adapter(tuple(self._family.beside(kind).values())).validate_python(fields)


@cache
def _adapter(classes: tuple[type[Method], ...]) -> TypeAdapter[Any]:
    return TypeAdapter(_union(classes))


def _union(classes: tuple[type[Method], ...]) -> Any:
    union = reduce(or_, classes)
    return Annotated[union, Field(discriminator="kind")] if len(classes) > 1 else union


def methods_in(settings: BaseModel) -> Iterator[type[Method]]:
    """The classes of all methods in use in settings, in order."""
    if isinstance(settings, Method):
        yield type(settings)
    for _, value in settings:
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, BaseModel):
                yield from methods_in(part)


def build(kinds: Mapping[str, type[M]], family: str, name: str, params: Mapping[str, Any]) -> M:
    """Make a method by name; a wrong name or parameter is a ConfigError that says what is allowed."""
    if name not in kinds:
        hints = f"{did_you_mean(name, kinds)}{entry_points.broken()}"
        raise ConfigError(f"{family}: '{name}' is not known. Allowed: {', '.join(kinds)}.{hints}")
    # A 0-d tensor or array is a number here (a known trap: gamma given as an integer tensor).
    values = {key: value.item() if hasattr(value, "item") else value for key, value in params.items()}
    try:
        return kinds[name](**values)
    except ValidationError as error:
        raise ConfigError(explain(error, f"{family} {name}", kinds[name])) from None
