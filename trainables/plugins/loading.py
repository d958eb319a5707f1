"""Loads plug-ins: once per process, from the source that another process has sent, or from where they lie."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any, get_args

from pydantic import PydanticUndefinedAnnotation

from trainables.errors import ConfigError, in_one_line
from trainables.plugins import sources
from trainables.plugins.faults import line_of
from trainables.plugins.registry import FAMILIES, Plugin, activate, family_of, kind_of, remember, word_of
from trainables.plugins.text_finder import TextFinder

Sources = Mapping[str, Mapping[str, str]]  # of plug-ins by name, of files by name below the plug-in's root

_KIND = re.compile(r"[a-z][a-z0-9_]*")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_LOCK = RLock()
_SENT: dict[str, Mapping[str, str]] = {}
_LOADED: dict[str, Plugin] = {}


def named(names: Iterable[str]) -> tuple[str, ...]:
    """Names of plug-ins as they are kept: each once, paths as absolute ones.  ConfigError for what can be neither path nor module."""
    found = []
    for name in names:
        if "\0" in name or not name.strip():
            raise ConfigError(f"plugins: {name!r} was given: must be a module such as my_lab.methods, or a path such as ./my_methods.py")
        if not is_path(name) and not _MODULE.fullmatch(name):
            raise ConfigError(f"plugins: {name!r} is no module; a path contains a slash or ends with .py, for example ./{name}")
        found.append(os.path.normpath(Path(name).absolute()) if is_path(name) else name)
    return tuple(dict.fromkeys(found))


def is_path(name: str) -> bool:
    return "/" in name or name.endswith(".py")


def use(names: Sequence[str]) -> None:
    """Let the methods of these plug-ins, and of no others, stand beside ours; names as `named` gives them.

    ConfigError where one cannot be loaded, or two bring a method of the same name.
    """
    activate(_together(tuple(names)))


def send(names: Iterable[str]) -> Sources:
    """The source of plug-ins, as this process has loaded it, for processes that may not find them."""
    return {name: load(name).files for name in names}


def receive(sent: Sources) -> None:
    """Load these plug-ins from this source, wherever they lie; those that have been loaded here already stay as they are."""
    with _LOCK:
        _SENT.update({name: files for name, files in sent.items() if name not in _LOADED})


def load(name: str) -> Plugin:
    """ConfigError, with one message, where it cannot be imported or a method in it breaks its interface."""
    with _LOCK:
        if name not in _LOADED:
            plugin = _from_path(name) if is_path(name) else _from_module(name)
            _LOADED[name] = plugin
        return _LOADED[name]


@cache
def _together(names: tuple[str, ...]) -> tuple[Plugin, ...]:
    plugins = tuple(map(load, names))
    seen: dict[tuple[Any, str], tuple[Plugin, type]] = {}
    for plugin in plugins:
        for cls in plugin.methods:
            key = family_of(cls), kind_of(cls)
            other, before = seen.setdefault(key, (plugin, cls))
            if before is not cls:
                both = f"{other.name} and {plugin.name} both bring the {word_of(cls)} '{key[1]}'"
                raise ConfigError(f"plugins: {both}: rename one, or leave one of the two out")
    return plugins


def _from_path(name: str) -> Plugin:
    path = Path(name)
    files = _SENT.get(name) or sources.of_path(path)
    if not re.fullmatch(r"[A-Za-z_]\w*", path.stem):
        better = re.sub(r"\W", "_", path.stem)
        raise ConfigError(f"plugins: {path}: a name of letters, digits and underscores is needed, such as {better}{path.suffix}")
    content = hashlib.sha256("\0".join(f"{file}\0{text}" for file, text in sorted(files.items())).encode()).hexdigest()
    place = hashlib.sha256(name.encode()).hexdigest()
    root = f"snrlab_plugin_{path.stem}_{place[:6]}{content[:10]}"
    sys.meta_path.append(TextFinder(root, path.stem, files, path if "__init__.py" in files else path.parent))
    return _loaded(name, root, root, path.stem, files)


def _from_module(name: str) -> Plugin:
    root, sent = name.partition(".")[0], _SENT.get(name)
    if root in sources.OURS:
        raise ConfigError(f"plugins: {name}: is not a plug-in: its methods are known, or it has none; leave it out")
    if root in sys.stdlib_module_names:
        raise ConfigError(f"plugins: {name}: belongs to Python and brings no method; name a module of your own")
    files = sent or sources.of_module(name)
    if sent and not sources.same_installed(sent, root):
        if root in sys.modules:
            raise ConfigError(f"plugins: {name}: another version of {root} is loaded in this process already")
        sys.meta_path.insert(0, TextFinder(root, root, sent, Path(f"<{root}>")))
    return _loaded(name, name, root, root, files)


def _loaded(name: str, module: str, root: str, label: str, files: Mapping[str, str]) -> Plugin:
    before = set(sys.modules)
    try:
        with redirect_stdout(sys.stderr):  # standard output is the command's own: `snrlab schema` writes JSON there
            imported = importlib.import_module(module)
        plugin = Plugin(name, root, label, files, _methods(name, imported, root))
    except ConfigError:
        _forget(root, before)
        raise
    except (Exception, SystemExit) as error:
        _forget(root, before)
        raise ConfigError(f"plugins: {name}: cannot be imported: {in_one_line(error)}{line_of(error, root, label)}") from None
    remember(plugin)
    return plugin


def _forget(root: str, before: set[str]) -> None:
    for module in set(sys.modules) - before:
        if module == root or module.startswith(f"{root}."):
            del sys.modules[module]


def _methods(name: str, module: ModuleType, root: str) -> tuple[type, ...]:
    found: dict[tuple[type, str], type] = {}
    for cls in vars(module).values():
        interface = family_of(cls) if isinstance(cls, type) else None
        own = isinstance(cls, type) and (cls.__module__ == root or cls.__module__.startswith(f"{root}."))
        if interface is None or not own or "kind" not in cls.model_fields:
            continue
        _check_interface(name, cls, interface)
        before = found.setdefault((interface, kind_of(cls)), cls)
        if before is not cls:
            both = f"{before.__name__} and {cls.__name__} are both the {word_of(cls)} '{kind_of(cls)}'"
            raise ConfigError(f"plugins: {name}: {both}: rename one")
    if not found:
        families = ", ".join(sorted(cls.__name__ for cls in FAMILIES))
        wanted = f'a class with `kind: Literal["name"] = "name"` that derives from one of {families}'
        raise ConfigError(f"plugins: {name}: brings no method: {wanted}")
    return tuple(found.values())


def _check_interface(name: str, cls: Any, interface: type) -> None:
    """ConfigError where a class cannot stand beside ours."""
    what = f"plugins: {name}: {cls.__name__}"
    try:
        cls.model_rebuild(_types_namespace={})  # its annotations may name what its module defines below
    except PydanticUndefinedAnnotation as error:
        raise ConfigError(f"{what}: an annotation names {error.name}, which is not defined: define or import it") from None
    field = cls.model_fields["kind"]
    if get_args(field.annotation) != (field.default,) or not isinstance(field.default, str) or not _KIND.fullmatch(field.default):
        raise ConfigError(f'{what}: its kind must be a fixed name of small letters, digits and underscores: kind: Literal["name"] = "name"')
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        raise ConfigError(f"{what}: is a {word_of(cls)}, and does not define {', '.join(missing)}; see {interface.__module__}")
    if getattr(cls, "decodes", False):
        raise ConfigError(f"{what}: what a plug-in decodes is not kept, for its source may change: set decodes: ClassVar[bool] = False")
    if field.default in FAMILIES[interface].ours:
        raise ConfigError(f"{what}: the {word_of(cls)} '{field.default}' is one of snrlab's own: give yours another kind")
