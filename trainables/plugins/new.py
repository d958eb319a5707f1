"""Writes a working method of a family, with its test, for somebody to change."""

from __future__ import annotations

import keyword
import re
from importlib import resources
from pathlib import Path

from trainables.errors import ConfigError, did_you_mean
from trainables.files import atomic
from trainables.method import Family
from trainables.plugins.sources import is_installed
from trainables.recipe import FAMILIES

_TEMPLATES = "trainables.plugins.templates"


def new_method(family: str, name: str, folder: Path) -> list[Path]:
    """Write NAME.py and test_NAME.py; ConfigError where one is there, the name is none or a library's, or the method is known."""
    known = sorted(name.removesuffix(".py") for name in _names() if name.endswith(".py") and not name.startswith("_"))
    if family not in known:
        raise ConfigError(f"new: '{family}' is no family of methods. Families: {', '.join(known)}.{did_you_mean(family, known)}")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ConfigError(f"new: '{name}' was given: use small letters, digits and underscores, such as my_{family}")
    kinds = FAMILIES[family]
    if isinstance(kinds, Family) and name in kinds.ours:
        raise ConfigError(f"new: {family} '{name}' is one of snrlab's own: choose another name")
    files = {folder / f"{name}.py": f"{family}.py", folder / f"test_{name}.py": "test_method.txt"}
    if there := [path for path in files if path.exists()]:
        raise ConfigError(f"new: {there[0]} is there already: choose another name, or move it away")
    if is_installed(name, folder.absolute() / f"{name}.py"):
        why = f"{name}.py would stand before the installed module of that name"
        raise ConfigError(f"new: '{name}' was given: {why}: choose another, such as my_{name}")
    for path, template in files.items():
        text = (resources.files(_TEMPLATES) / template).read_text(encoding="utf-8")
        atomic.write_text(path, text.replace("my_method", name).replace("MyMethod", "".join(p.capitalize() for p in name.split("_"))))
    return list(files)


def _names() -> list[str]:
    return [entry.name for entry in resources.files(_TEMPLATES).iterdir()]
