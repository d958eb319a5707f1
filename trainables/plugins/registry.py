"""The families that methods belong to, and which plug-ins the settings at hand may use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol


class Known(Protocol):
    """The methods of a family that may be used now."""

    ours: Mapping[str, type]  # without those of plug-ins, by kind

    def values(self) -> Iterable[type]: ...


FAMILIES: dict[type, Known] = {}  # by the interface that their methods derive from


@dataclass(frozen=True, eq=False)
class Plugin:
    """What a plug-in has brought into this process."""

    name: str  # as in `plugins`: an absolute path, or a module
    root: str  # the name that its outermost module has in this process
    label: str  # the name of that module wherever it is loaded
    files: Mapping[str, str]  # the Python source of each file below the root, as it was loaded
    methods: tuple[type, ...]


_BY_ROOT: dict[str, Plugin] = {}  # the last one of a package of which several modules are named holds the files of all
_ACTIVE: ContextVar[tuple[Plugin, ...]] = ContextVar("plugins", default=())


def active() -> tuple[Plugin, ...]:
    """The plug-ins of the settings that this thread has validated last."""
    return _ACTIVE.get()


def activate(plugins: tuple[Plugin, ...]) -> None:
    _ACTIVE.set(plugins)


def remember(plugin: Plugin) -> None:
    """Its source counts from now on."""
    before = _BY_ROOT.get(plugin.root)
    files = {**(before.files if before else {}), **plugin.files}
    _BY_ROOT[plugin.root] = Plugin(plugin.name, plugin.root, plugin.label, files, plugin.methods)


def methods_of(interface: type, plugins: tuple[Plugin, ...]) -> Iterator[tuple[str, type]]:
    """(kind, class) of the plug-ins' methods of one family."""
    for plugin in plugins:
        yield from ((kind_of(cls), cls) for cls in plugin.methods if issubclass(cls, interface))


def kind_of(cls: type) -> str:
    return str(cls.model_fields["kind"].default)  # type: ignore[attr-defined]


def family_of(cls: type) -> type | None:
    """The interface that a class belongs to; None where it is no method."""
    return next((interface for interface in FAMILIES if issubclass(cls, interface)), None)


def word_of(cls: type) -> str:
    """What a family's methods are called: `timestep policy`."""
    interface = family_of(cls) or cls
    return re.sub(r"(?<!^)(?=[A-Z])", " ", interface.__name__).lower()


def plugin_of(cls: type) -> Plugin | None:
    """The plug-in that a class is from; None for ours."""
    return plugin_with(cls.__module__)


def plugin_with(module: str) -> Plugin | None:
    """The plug-in that a module is from; None for ours."""
    return _BY_ROOT.get(module.partition(".")[0])


def file_of(module: str) -> tuple[str, str] | None:
    """(file, source) of a module of a plug-in; None where it is none."""
    plugin = plugin_with(module)
    return module_file(plugin.files, plugin.label, module) if plugin else None


def label_of(module: str) -> str:
    """A module's name, the same in all processes and wherever its plug-in lies."""
    root, dot, rest = module.partition(".")
    return f"{_BY_ROOT[root].label}{dot}{rest}" if root in _BY_ROOT else module


def module_file(files: Mapping[str, str], label: str, module: str) -> tuple[str, str] | None:
    """(file, source) of a module among the files below its root."""
    inside = "/".join(module.split(".")[1:])
    candidates = (f"{inside}/__init__.py", f"{inside}.py") if inside else ("__init__.py", f"{label}.py")
    return next(((file, files[file]) for file in candidates if file in files), None)


def is_package(file: str) -> bool:
    return file.rpartition("/")[2] == "__init__.py"
