"""`python -m tests.mutants [count]`: small changes of the code, each of which the mirrored tests should notice.

Cosmic Ray makes the mutants: constants, operators, comparisons and conditions.  A seeded sample takes a place in the code first and
then one of its mutants, so that an operator with twelve replacements does not count twelve times.  Annotations and blocks for type
checkers are left out.  Each mutant is tested in a copy of the working tree by a forked process, where torch and its like are imported.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from compileall import compile_dir
from dataclasses import dataclass
from pathlib import Path
from py_compile import PycInvalidationMode

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("trainables", "search_spaces", "orchestrator", "reports", "tests")
MUTATED = (
    *(f"trainables/{part}" for part in ("schedules", "weightings", "targets", "timesteps", "log_snr.py", "ema", "metrics", "optimisers")),
    "search_spaces", "reports",
)
OPERATORS = ("ReplaceBinaryOperator", "ReplaceComparisonOperator", "ReplaceUnaryOperator", "ReplaceAndWithOr", "ReplaceOrWithAnd",
             "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "AddNot", "NumberReplacer")
IMPORTED_ONCE = ("torch", "torchvision", "torch_fidelity", "numpy", "scipy.stats", "scipy.optimize", "sklearn.feature_selection", "pandas",
                 "pydantic", "hypothesis", "fsspec", "upath", "yaml", "PIL.Image", "plotly", "jinja2", "optuna", "safetensors")
SLOWEST = 4.0  # times the tests' own time, after which a mutant is stopped and counts as noticed


@dataclass(frozen=True)
class Mutant:
    path: str
    line: int
    operator: str
    source: str  # the whole file

    @property
    def change(self) -> str:
        old, new = (ROOT / self.path).read_text().splitlines(), self.source.splitlines()
        first = next(i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
        return f"`{old[first].strip()}` -> `{new[first].strip()}`"


@dataclass(frozen=True)
class Outcome:
    code: int | None  # of pytest; none is out of time
    seconds: float
    first_failure: str
    seconds_by_file: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=200, help="mutants in the sample (200)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample; a larger sample of one seed begins with the smaller one")
    parser.add_argument("--only", default="", help="a file or folder; all that are mutated if left out")
    parser.add_argument("--skip", type=int, default=0, help="mutants of the sample that were tested earlier")
    arguments = parser.parse_args()
    chosen = list(sample(arguments.count, arguments.seed, arguments.only))[arguments.skip :]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ.update(OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
    sys.dont_write_bytecode = True
    for name in IMPORTED_ONCE:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        alive = run(chosen, copy_of_the_tree(Path(folder) / "tree"))
    print(f"\n{len(chosen) - len(alive)} of {len(chosen)} mutants were noticed; alive:")
    for mutant in alive:
        print(f"{mutant.path}:{mutant.line}  {mutant.change}")


def run(mutants: list[Mutant], tree: Path) -> list[Mutant]:
    """Those that no test notices."""
    alive, order = [], {}
    for number, mutant in enumerate(mutants, start=1):
        tests = mirrored_tests(mutant.path)
        if tests not in order:
            print(f"{', '.join(tests)}: as they are", flush=True)
            order[tests] = outcome(tree, tests)
            if order[tests].code != 0:
                raise SystemExit(f"the tests fail without any mutant: {order[tests].first_failure or 'out of time'}")
        # Files that take least come first; the first failure ends the run.
        by_file = order[tests].seconds_by_file
        namesake = f"test_{Path(mutant.path).name}"
        files = sorted(by_file, key=lambda name, namesake=namesake: (not name.endswith(namesake) or by_file[name] > 20, by_file[name]))
        original = (tree / mutant.path).read_text()
        (tree / mutant.path).write_text(mutant.source)
        found = outcome(tree, files, limit=60 + SLOWEST * order[tests].seconds)
        (tree / mutant.path).write_text(original)
        if found.code == 0:
            alive.append(mutant)
        seen = "ALIVE" if found.code == 0 else "out of time" if found.code is None else f"noticed by {found.first_failure or 'import'}"
        print(f"{number}/{len(mutants)} {mutant.path}:{mutant.line} {mutant.change}: {seen} ({found.seconds:.0f} s)", flush=True)
    return alive


def sample(count: int, seed: int, only: str = "") -> Iterator[Mutant]:
    """At most one mutant of each place, in a random order of the places."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    places = [place for path in mutated_files(only) for place in places_of(path).items()]
    generator = random.Random(seed)
    generator.shuffle(places)
    for (path, line, _, _), candidates in places[:count]:
        name, occurrence = generator.choice(candidates)
        yield Mutant(path, line, name, mutate_code((ROOT / path).read_text(), get_operator(name)(), occurrence))


def mutated_files(only: str) -> list[str]:
    found = [path for part in MUTATED for path in ([ROOT / part] if part.endswith(".py") else (ROOT / part).rglob("*.py"))]
    return sorted(name for name in (path.relative_to(ROOT).as_posix() for path in found) if name.startswith(only))


def places_of(path: str) -> dict[tuple[str, int, int, str], list[tuple[str, int]]]:
    """(file, line, column, kind of change) -> the operators and which of their occurrences in the file."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    source = (ROOT / path).read_text()
    nodes, ignored, places = list(ast_nodes(get_ast(source))), without_effect(source), defaultdict(list)
    comparisons = [node for node in nodes if node.type == "comparison"]
    alike = defaultdict(list)  # ReplaceBinaryOperator_Add_Sub and ReplaceBinaryOperator_Add_Mul have the same positions
    for name in operator_names():
        kind = next((kind for kind in OPERATORS if name.startswith(f"core/{kind}")), None)
        if kind is not None:
            alike[kind, name.rpartition("_")[0] if "Binary" in kind else name].append(name)
    for (kind, _), names in alike.items():
        operator = get_operator(names[0])()
        where = comparisons if "Comparison" in kind else nodes
        positions = [start for node in where for start, _ in operator.mutation_positions(node)]
        for occurrence, start in enumerate(positions):
            if not any(first <= start < last for first, last in ignored):
                places[path, *start, kind] += [(name, occurrence) for name in names]
    return dict(places)


def without_effect(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where annotations and blocks for type checkers begin and end, as (line, column)."""
    found: list[ast.expr | ast.stmt] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            found += [each for each in (node.returns, *(a.annotation for a in ast.walk(node.args) if isinstance(a, ast.arg))) if each]
        elif isinstance(node, ast.AnnAssign):
            found.append(node.annotation)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            found.append(node)
    return [((each.lineno, each.col_offset), (each.end_lineno or each.lineno, each.end_col_offset or 0)) for each in found]


def mirrored_tests(path: str) -> tuple[str, ...]:
    """The folder of tests that mirrors the file's; for a file that lies loose, the tests of its name."""
    mirror = Path("tests") / Path(path).parent
    return ((mirror / f"test_{Path(path).name}" if mirror.name == "trainables" else mirror).as_posix(),)


def copy_of_the_tree(tree: Path) -> Path:
    """Tracked and new files, with bytecode that is checked by content: a mutant may have the size and the second of the original."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    for name in OURS:
        compile_dir(tree / name, quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    return tree


def outcome(tree: Path, tests: tuple[str, ...] | list[str], limit: float = 1800.0) -> Outcome:
    report, started = tree / "outcome.json", time.monotonic()
    report.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        _in_child(tree, tests, report)
    os.setpgid(child, child)  # what its tests start is stopped with it
    code = _wait(child, lambda: time.monotonic() - started > limit)
    told = json.loads(report.read_text()) if report.exists() else {"failure": "", "seconds": {}}
    return Outcome(code, time.monotonic() - started, told["failure"], told["seconds"])


def _wait(child: int, over: Callable[[], bool]) -> int | None:
    ended = False
    try:
        while not over():
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                ended = True
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        return None
    finally:
        if not ended:  # out of time, or this process is being stopped
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _in_child(tree: Path, tests: tuple[str, ...] | list[str], report: Path) -> None:
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silence, stream)
        os.chdir(tree)
        os.environ["PYTHONPATH"] = str(tree)
        sys.path[:] = [str(tree), *(p for p in sys.path if Path(p or ".").resolve() != ROOT)]
        for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
            del sys.modules[name]
        import hypothesis

        hypothesis.settings.register_profile("mutants", deadline=None, derandomize=True)  # the same examples for all, at any load
        hypothesis.settings.load_profile("mutants")
        told = _Reports(report)
        arguments = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", f"--basetemp={tree.parent / 'pytest'}", *tests]
        code = int(pytest.main(arguments, plugins=[told]))
        told.write()
    finally:
        os._exit(code)


class _Reports:
    """Of pytest: seconds by file, and the first test that failed.  Tests that run a whole study on Ray are left out."""

    def __init__(self, path: Path) -> None:
        self._path, self._failure, self._seconds = path, "", defaultdict(float)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if "finished" not in getattr(item, "fixturenames", ())]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid.split("::")[0]] += report.duration
        if report.failed and not self._failure:
            self._failure = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self._failure:
            self._failure = report.nodeid

    def write(self) -> None:
        self._path.write_text(json.dumps({"failure": self._failure, "seconds": self._seconds}))


if __name__ == "__main__":
    main()
