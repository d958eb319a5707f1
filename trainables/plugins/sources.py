"""The Python source of a plug-in, read before any of it runs: by file name below the plug-in's root."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from trainables.errors import ConfigError
from trainables.plugins.imports import imported
from trainables.plugins.registry import is_package

_ABOVE = "(the folder)"  # no module has this name
OURS = ("snrlab", "trainables", "search_spaces", "orchestrator", "reports")


def of_path(path: Path) -> dict[str, str]:
    """Of a file, or of all files in a folder that is a package.

    ConfigError where it cannot be read, or imports a file beside it: that would be neither sent to other machines nor part of keys.
    """
    if path.is_dir():
        if not (path / "__init__.py").is_file():
            raise ConfigError(f"plugins: {path}: is a folder without an __init__.py; write one that imports its methods, or name a file")
        return {file.relative_to(path).as_posix(): _read(file) for file in sorted(path.rglob("*.py")) if not _is_test(file.name)}
    text = _read(path)
    for name in _imports(text, f"{_ABOVE}.{path.stem}", package=False):
        relative, top = name.startswith(_ABOVE), name.removeprefix(_ABOVE).lstrip(".").partition(".")[0]
        if relative or (_beside(path, top) and not is_installed(top, path)):
            raise ConfigError(
                f"plugins: {path}: imports {top or 'from its folder'}, and a plug-in of one file is that file alone. Put both into a "
                f"folder with an __init__.py that imports the methods, write `from .{top or 'module'} import ...`, and name the folder"
            )
    return {path.name: text}


def of_module(name: str) -> dict[str, str]:
    """Of an installed module and everything that it imports from its own outermost package, by file below that.

    ConfigError where there is no such module.
    """
    root = name.partition(".")[0]
    found: dict[str, str] = {}
    waiting = [name]
    while waiting:
        module = waiting.pop()
        for part in _with_parents(module):
            located = _located(part)
            if located is None or located[0] in found:
                continue
            file, text = located
            found[file] = text
            names = _imports(text, part, is_package(file), lambda name: name.startswith(f"{root}.") and _located(name) is not None)
            waiting += [name for name in names if name.partition(".")[0] == root]
    if not found or _located(name) is None:
        raise ConfigError(
            f"plugins: {name}: is no installed module with Python source. Install its package into this environment, or give the path of a "
            f"file or folder: ./{name.rpartition('.')[2]}.py"
        )
    return found


def same_installed(files: Mapping[str, str], root: str) -> bool:
    """Whether the package that is installed here has exactly these sources in these files."""
    for file, text in files.items():
        located = _located(_module_of(file, root))
        if located is None or located[1] != text:
            return False
    return True


def _module_of(file: str, root: str) -> str:
    parts = file.removesuffix(".py").split("/")
    if parts == [root]:  # a package of one file
        return root
    return ".".join([root, *parts]).removesuffix(".__init__")


def _located(module: str) -> tuple[str, str] | None:
    """(file below the root, source) of an installed module; nothing of it is run."""
    root, *inside = module.split(".")
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations is None:
        return (f"{root}.py", _read(Path(spec.origin))) if not inside and spec.origin and spec.origin.endswith(".py") else None
    for folder in spec.submodule_search_locations:
        files = {file.relative_to(folder).as_posix(): file for file in _candidates(Path(folder).joinpath(*inside), bool(inside))}
        for name, file in files.items():
            if file.is_file():
                return name, _read(file)
    return None


def _candidates(place: Path, may_be_file: bool) -> Iterator[Path]:
    yield place / "__init__.py"
    if may_be_file:
        yield place.with_name(f"{place.name}.py")


def _with_parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    yield from (".".join(parts[: i + 1]) for i in range(len(parts)))


def _imports(text: str, module: str, package: bool, is_module: Callable[[str], bool] = lambda name: False) -> list[str]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # which the import will tell
        return []
    return list(imported(tree, module, package, is_module))


def _is_test(file: str) -> bool:
    return file.startswith("test_") or file == "conftest.py"


def _beside(path: Path, top: str) -> bool:
    return bool(top) and ((path.parent / f"{top}.py").is_file() or (path.parent / top).is_dir())


def is_installed(top: str, path: Path) -> bool:
    """Whether an import would find something else than what lies beside the file."""
    if top in sys.stdlib_module_names or top in OURS:
        return True
    spec = importlib.util.find_spec(top)
    if spec is None:
        return False
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    return not any(path.parent == Path(place).parent or path.parent == Path(place).parent.parent for place in places)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        hint = "" if path.is_absolute() and path.exists() else "; relative paths begin in the folder in which snrlab is started"
        raise ConfigError(f"plugins: {path}: cannot be read ({reason}){hint}") from None
