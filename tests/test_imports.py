"""The rooms of docs/architecture.md, and who may enter: kept by reading every import of every file."""

from __future__ import annotations

import ast
import graphlib
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
    "snrlab": {"ray", "torch", "optuna", "mlflow"},
}

ALLOWED = {"trainables/experts/proxy.py": {"optuna"}}  # a search that is part of what one trial computes

# Within a package: what the modules of a folder may import of the other folders beside theirs.
ROOMS = {
    "orchestrator.search": {
        "orchestrator.records.folders", "orchestrator.cluster.addresses",
        "orchestrator.records.definition",  # of a study whose search lies in a database, for its results in Optuna's form
    },
    "orchestrator.records": {"orchestrator.cluster.addresses"},
    "orchestrator.cluster": set(),
}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in FORBIDDEN for path in (ROOT / package).rglob("*.py")
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
        found = _imports(ast.parse(path.read_text())) & FORBIDDEN[package] - ALLOWED.get(str(path.relative_to(ROOT)), set())
        assert not found, f"{path.relative_to(ROOT)} imports {sorted(found)}"


def test_only_the_orchestrator_imports_ray() -> None:
    others = [p for package in FORBIDDEN if package != "orchestrator" for p in (ROOT / package).rglob("*.py")]
    assert not [p for p in others if "ray" in _imports(ast.parse(p.read_text()))]


def _loads(module: str, *heavy: str) -> bool:
    code = f"import sys, {module}; sys.exit(any(name in sys.modules for name in {heavy!r}))"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode != 0


LIGHT = ["trainables.recipe", "search_spaces.study", "reports.pages.study_page", "orchestrator.cli.app", "orchestrator.records.tracking"]


@pytest.mark.parametrize("module", LIGHT)
def test_settings_and_records_load_neither_torch_nor_ray(module: str) -> None:
    assert not _loads(module, "torch", "ray")


def test_what_only_waits_for_workers_loads_no_torch() -> None:
    assert not _loads("orchestrator.execution.trial", "torch")


def _module_imports(module: str) -> set[str]:
    """Our own modules that a module names anywhere: at its top, in its functions, and for type checkers."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inside if inside <= MODULES.keys() else inside | {node.module}
    return (found & MODULES.keys()) - {module}


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def test_nothing_imports_itself_in_a_circle() -> None:
    sorter = graphlib.TopologicalSorter({module: _module_imports(module) for module in MODULES})
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_of_the_orchestrator_import_only_what_they_may(room: str) -> None:
    for module in (m for m in MODULES if _room(m) == room):
        others = {m for m in _module_imports(module) if m.startswith("orchestrator.") and _room(m) != room}
        assert others <= ROOMS[room], f"{module} imports {sorted(others - ROOMS[room])}"


def test_records_need_no_ray() -> None:
    for module, path in MODULES.items():
        if _room(module) == "orchestrator.records":
            assert "ray" not in _imports(ast.parse(path.read_text())), module


def test_no_method_needs_the_training_loop_or_the_recipe_that_it_is_part_of() -> None:
    families = {_room(m) for m in MODULES if m.count(".") > 1 and m.startswith("trainables.")} - {
        "trainables.training", "trainables.evaluation", "trainables.files", "trainables.experts", "trainables.stages",
        "trainables.plugins"}
    for module in (m for m in MODULES if _room(m) in families):
        found = {m for m in _module_imports(module) if _room(m) in ("trainables.training", "trainables.evaluation", "trainables.recipe")}
        assert not found or module == "trainables.networks.modules.build", f"{module} imports {sorted(found)}"
