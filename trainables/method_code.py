"""The source of what decides a result, as a hash; comments, docstrings, descriptions and formatting do not count."""

from __future__ import annotations

import hashlib
import sys
import uuid
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import trainables.recipe  # noqa: F401 - every method is loaded before its source is read
from trainables.plugins.imports import imported
from trainables.plugins.registry import file_of, is_package, label_of
from trainables.source_hash import bare, source_hash

_PACKAGE = "trainables"
_ROOT = Path(__file__).parent
# What these hold carries values and messages about and computes none.
_WITHOUT_MATHS = (
    "trainables.duration", "trainables.errors", "trainables.evaluation.settings", "trainables.files", "trainables.method",
    "trainables.plugins", "trainables.recipe",
)


def code_hash(classes: Iterable[type], modules: Iterable[str] = ()) -> str:
    """SHA-256, hexadecimal, of the modules that define these classes and their bases, and of all that those import from here.

    `modules` are looked at too, where there are such.  A plug-in's modules count like ours, with what they import from it and from here.

    Sources are those of the moment at which this module was imported, with the methods: a process goes on with the code that it has
    loaded, whatever is edited meanwhile.  A module that was loaded later from a file that had changed has a hash of its own.
    """
    wanted = {base.__module__ for cls in classes for base in cls.__mro__ if _counts(base.__module__)}
    wanted |= {module for module in modules if _path(module).exists()}
    digest = hashlib.sha256()
    for label, module in sorted((label_of(module), module) for module in _with_imports(wanted)):
        digest.update(f"{label} {_module_hash(module)}\n".encode())
    return digest.hexdigest()


def _with_imports(modules: set[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting.extend(_imports(module))
    return found


@cache
def _module_hash(module: str) -> str:
    changed = not file_of(module) and module not in _LOADED and _path(module).read_text(encoding="utf-8") != _source(module)
    return source_hash(_source(module)) + (f" changed at run time {uuid.uuid4()}" if changed else "")


def _source(module: str) -> str:
    if brought := file_of(module):
        return brought[1]
    return _SOURCES.get(module) or _path(module).read_text(encoding="utf-8")


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Modules of this package, or of the plug-in, that a module imports, anywhere in it; a plug-in's come with the packages they are in."""
    brought = file_of(module)
    package = is_package(brought[0] if brought else _path(module).name)
    found = imported(bare(_source(module)), module, package, _exists)
    parents = [module.rpartition(".")[0]] if brought else []
    return tuple(sorted({name for name in (*found, *parents) if _counts(name)}))


def _exists(module: str) -> bool:
    return file_of(module) is not None or (module.startswith(_PACKAGE) and _path(module).exists())


def _counts(module: str) -> bool:
    ours = module.startswith(f"{_PACKAGE}.")
    return file_of(module) is not None or (
        ours and not any(module == name or module.startswith(f"{name}.") for name in _WITHOUT_MATHS)
    )


def _path(module: str) -> Path:
    inside = _ROOT.joinpath(*module.split(".")[1:])
    return inside / "__init__.py" if inside.is_dir() else inside.with_suffix(".py")


_SOURCES = {
    ".".join((_PACKAGE, *path.relative_to(_ROOT).with_suffix("").parts)).removesuffix(".__init__"): path.read_text(encoding="utf-8")
    for path in sorted(_ROOT.rglob("*.py"))
}
_LOADED = frozenset(sys.modules)
