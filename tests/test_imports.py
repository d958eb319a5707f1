"""The rooms of docs/architecture.md, and who may enter: kept by reading every import of every file."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "trainables": {"ray", "optuna", "mlflow", "orchestrator", "reports", "search_spaces"},
    "search_spaces": {"torch", "ray", "mlflow", "orchestrator", "reports"},
    "orchestrator": set(),
    "reports": {"ray", "torch", "orchestrator"},
}


def _imports(tree: ast.Module) -> set[str]:
    """Top-level names of all imports but those for type checkers alone."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_package_imports_only_what_it_may(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        found = _imports(ast.parse(path.read_text())) & FORBIDDEN[package]
        assert not found, f"{path.relative_to(ROOT)} imports {sorted(found)}"


def test_only_the_orchestrator_imports_ray() -> None:
    others = [p for package in FORBIDDEN if package != "orchestrator" for p in (ROOT / package).rglob("*.py")]
    assert not [p for p in others if "ray" in _imports(ast.parse(p.read_text()))]


def _loads(module: str, *heavy: str) -> bool:
    code = f"import sys, {module}; sys.exit(any(name in sys.modules for name in {heavy!r}))"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode != 0


LIGHT = ["trainables.recipe", "search_spaces.study", "reports.page", "orchestrator.cli.app", "orchestrator.records.tracking"]


@pytest.mark.parametrize("module", LIGHT)
def test_settings_and_records_load_neither_torch_nor_ray(module: str) -> None:
    assert not _loads(module, "torch", "ray")


def test_what_only_waits_for_workers_loads_no_torch() -> None:
    assert not _loads("orchestrator.execution.trial", "torch")
