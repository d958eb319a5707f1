"""The source of what decides a result, as a hash; comments, docstrings, descriptions and formatting do not count."""

from __future__ import annotations

import ast
import hashlib
import sys
import uuid
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import trainables.recipe  # noqa: F401 - every method is loaded before its source is read

_PACKAGE = "trainables"
_ROOT = Path(__file__).parent
# What these hold carries values and messages about and computes none.
_WITHOUT_MATHS = (
    "trainables.duration", "trainables.errors", "trainables.evaluation.settings", "trainables.files", "trainables.method",
    "trainables.recipe",
)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_hash(classes: Iterable[type], modules: Iterable[str] = ()) -> str:
    """SHA-256, hexadecimal, of the modules that define these classes and their bases, and of all that those import from here.

    `modules` are looked at too, where there are such.

    Sources are those of the moment at which this module was imported, with the methods: a process goes on with the code that it has
    loaded, whatever is edited meanwhile.  A module that was loaded later from a file that had changed has a hash of its own.
    """
    wanted = {base.__module__ for cls in classes for base in cls.__mro__ if _counts(base.__module__)}
    wanted |= {module for module in modules if _path(module).exists()}
    digest = hashlib.sha256()
    for module in sorted(_with_imports(wanted)):
        digest.update(f"{module} {_module_hash(module)}\n".encode())
    return digest.hexdigest()


def source_hash(source: str) -> str:
    """SHA-256, hexadecimal, of Python source without what does not count."""
    return hashlib.sha256(ast.unparse(_Bare().visit(ast.parse(source))).encode()).hexdigest()


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
    changed = module not in _LOADED and _path(module).read_text(encoding="utf-8") != _source(module)
    return source_hash(_source(module)) + (f" changed at run time {uuid.uuid4()}" if changed else "")


def _source(module: str) -> str:
    return _SOURCES.get(module) or _path(module).read_text(encoding="utf-8")


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Modules of this package that a module imports, anywhere in it."""
    tree = _Bare().visit(ast.parse(_source(module)))
    return tuple(sorted({name for node in ast.walk(tree) for name in _imported(node, module) if _counts(name)}))


def _imported(node: ast.AST, module: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = module.split(".") if _path(module).name == "__init__.py" else module.split(".")[:-1]
        package = above[: len(above) + 1 - node.level] if node.level else []
        origin = ".".join([*package, *([node.module] if node.module else [])])
        inside = [f"{origin}.{alias.name}" for alias in node.names]
        modules = [name for name in inside if name.startswith(_PACKAGE) and _path(name).exists()]
        yield from modules or [origin]


def _counts(module: str) -> bool:
    ours = module.startswith(f"{_PACKAGE}.")
    return ours and not any(module == name or module.startswith(f"{name}.") for name in _WITHOUT_MATHS)


def _path(module: str) -> Path:
    inside = _ROOT.joinpath(*module.split(".")[1:])
    return inside / "__init__.py" if inside.is_dir() else inside.with_suffix(".py")


class _Bare(ast.NodeTransformer):
    """Takes out docstrings, descriptions of fields, and imports for type checkers."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, _DOCUMENTED) and node.body and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        node.keywords = [keyword for keyword in node.keywords if keyword.arg != "description"]
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return [self.visit(statement) for statement in node.orelse]
        return self.generic_visit(node)


_SOURCES = {
    ".".join((_PACKAGE, *path.relative_to(_ROOT).with_suffix("").parts)).removesuffix(".__init__"): path.read_text(encoding="utf-8")
    for path in sorted(_ROOT.rglob("*.py"))
}
_LOADED = frozenset(sys.modules)
