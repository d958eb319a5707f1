"""Imports modules from source that is at hand as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType

from trainables.plugins.registry import is_package, module_file


class TextFinder(MetaPathFinder, ExecutionLoader):
    """The modules of one package, by file below its root; `place` is where the files lie or lay, for messages."""

    def __init__(self, root: str, label: str, files: Mapping[str, str], place: Path) -> None:
        self._root, self._label, self._files, self._place = root, label, files, place

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname.partition(".")[0] != self._root:
            return None
        if module_file(self._files, self._label, fullname):
            return spec_from_loader(fullname, self)
        below = "/".join(fullname.split(".")[1:])
        if any(file.startswith(f"{below}/" if below else "") for file in self._files):  # a folder without an __init__.py
            return ModuleSpec(fullname, None, is_package=True)
        return None

    def is_package(self, fullname: str) -> bool:
        return is_package(self._file(fullname)[0])

    def get_source(self, fullname: str) -> str:
        return self._file(fullname)[1]

    def get_filename(self, fullname: str) -> str:
        return str(self._place / self._file(fullname)[0])

    def _file(self, fullname: str) -> tuple[str, str]:
        found = module_file(self._files, self._label, fullname)
        if found is None:
            raise ImportError(f"no module {fullname}", name=fullname)
        return found
