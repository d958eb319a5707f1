"""The wheel and the sdist: what is in them, what they ask for, and that the wheel works where there is no checkout.

The fresh environment of these tests takes the dependencies from this one (7 GB) by a .pth file; snrlab itself comes from the wheel.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from tests.studies import small_study

ROOT = Path(__file__).parents[1]
PACKAGES = ("orchestrator", "reports", "search_spaces", "snrlab", "trainables")
UV = Path(sys.executable).with_name("uv")


def test_every_package_that_is_imported_is_asked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = (need for extra in ("dinov2", "postgres", "s3") for need in project["optional-dependencies"][extra])
    wanted = [*project["dependencies"], *extras]
    asked = {_normal(re.split(r"[\[<>=~! ]", need)[0]) for need in wanted}
    dependency_of = {
        "annotated-types": "pydantic", "pydantic-core": "pydantic", "typing-extensions": "pydantic",
        "markupsafe": "jinja2", "sqlalchemy": "mlflow",
    }
    owners = metadata.packages_distributions()
    missing = set()
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for name in _imported(file) - sys.stdlib_module_names - set(PACKAGES):
                found = {_normal(owner) for owner in owners.get(name, [name])}
                if not any(owner in asked or dependency_of.get(owner) in asked for owner in found):
                    missing.add((name, str(file.relative_to(ROOT))))
    assert missing == set()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _imported(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.split(".")[0] for name in plain | {n.module or "" for n in nodes if isinstance(n, ast.ImportFrom) and not n.level}}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel, made from the sdist, and the sdist, as `make dist` builds them from the files that belong to the project."""
    if not UV.exists():
        pytest.skip("needs the uv of make env")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in (*PACKAGES, "tests", "docs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)
    _run([UV, "build", "--no-build-isolation", "--offline", "--python", sys.executable, "--out-dir", target], source)
    return target


def _run(command: list[object], folder: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_wheel_and_sdist_hold_what_belongs_to_them_and_nothing_else(built: Path) -> None:
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    inside = zipfile.ZipFile(wheel).namelist()
    package = {name for name in inside if ".dist-info/" not in name}
    source = {str(file.relative_to(ROOT)) for name in PACKAGES for file in (ROOT / name).rglob("*")
              if file.is_file() and "__pycache__" not in file.parts}
    assert package == source, "package-data of pyproject.toml names every kind of file"
    assert any(name.endswith("/licenses/LICENSE") for name in inside) and "snrlab/py.typed" in inside
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert source | {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml"} <= packed
    assert not [name for name in packed if name.split("/")[0] in ("tests", "docs")]
    assert wheel.stat().st_size < 2_000_000 and sdist.stat().st_size < 2_000_000


@pytest.fixture(scope="module")
def fresh(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment with the wheel."""
    environment = tmp_path_factory.mktemp("fresh")
    _run([sys.executable, "-m", "venv", "--without-pip", environment], environment)
    python = environment / "bin/python"
    _run([UV, "pip", "install", "--offline", "--no-deps", "--python", python, *built.glob("*.whl")], environment)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return environment / "bin"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_study_is_planned_run_and_reported_in_an_empty_folder(fresh: Path, tmp_path: Path) -> None:
    snrlab = fresh / "snrlab"
    where = _run([fresh / "python", "-c", "import snrlab, trainables; print(snrlab.__file__, trainables.__file__)"], tmp_path)
    assert where.count(str(fresh.parent)) == 2
    assert "8 trials" in _run([snrlab, "plan", "quickstart"], tmp_path)
    assert "laplace_b" in _run([snrlab, "studies"], tmp_path) and '"$defs"' in _run([snrlab, "schema"], tmp_path)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small_study(compute={"workers": 1})))
    assert "best variant:" in _run([snrlab, "run", "small.yaml"], tmp_path)
    report = tmp_path / "runs/small/report/index.html"
    report.unlink()
    _run([snrlab, "report", "small"], tmp_path)
    assert "fd_probe" in report.read_text()
    program = "import snrlab; print(snrlab.load('runs', 'small').sample(0, 2).shape)"
    assert _run([fresh / "python", "-c", program], tmp_path).strip() == "(2, 1, 8, 8)"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "small.yaml"]
