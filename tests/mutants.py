"""`python -m tests.mutants [count]`: small changes of the code, each of which the mirrored tests should notice.

Cosmic Ray makes the mutants: constants, operators, comparisons and conditions.  A seeded sample takes a place in the code first and
then one of its mutants, so that an operator with twelve replacements does not count twelve times.  Annotations and blocks for type
checkers are left out.  Each mutant is tested in a copy of the working tree by forked processes, where torch and its like are imported,
one file of tests after the other until one notices it.  What was found is kept, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib
import json
import math
import os
import random
import resource
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
from typing import Any

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
SHORTEST, SLOWEST = 20.0, 4.0  # a mutant counts as noticed after so many seconds of CPU and so many times those of the tests themselves
WAITING = 1200.0  # seconds by the clock after which it does, too
NO_TESTS = 5  # pytest's exit status where all tests of a file are left out


@dataclass(frozen=True)
class Mutant:
    path: str
    line: int
    operator: str
    source: str  # the whole file

    @property
    def key(self) -> str:
        return hashlib.sha256(f"{self.path}\0{self.source}".encode()).hexdigest()

    @property
    def change(self) -> str:
        old, new = (ROOT / self.path).read_text().splitlines(), self.source.splitlines()
        first = next(i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
        return f"`{old[first].strip()}` -> `{new[first].strip()}`"


@dataclass(frozen=True)
class Outcome:
    code: int | None  # of pytest; none is out of time
    seconds: float  # of CPU
    first_failure: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=200, help="mutants in the sample (200)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample; a larger sample of one seed begins with the smaller one")
    parser.add_argument("--only", default="", help="a file or folder; all that are mutated if left out")
    parser.add_argument("--results", type=Path, default=ROOT / "runs" / "mutants.jsonl", help="what was found, from which a run goes on")
    arguments = parser.parse_args()
    chosen, results = list(sample(arguments.count, arguments.seed, arguments.only)), Results(arguments.results)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ.update(OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
    sys.dont_write_bytecode = True
    for name in IMPORTED_ONCE:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        run(chosen, copy_of_the_tree(Path(folder) / "tree"), results)
    alive = [mutant for mutant in chosen if not results.seen(mutant)]
    print(f"\n{len(chosen) - len(alive)} of {len(chosen)} mutants were noticed; alive:")
    for mutant in alive:
        print(f"{mutant.path}:{mutant.line}  {mutant.change}")


class Results:
    """Lines of JSON: a mutant and which test notices it, or a file of tests and the CPU seconds that it takes without mutants."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        self._known: dict[str, dict[str, Any]] = {row["key"]: row for row in rows}

    def of(self, key: str) -> dict[str, Any] | None:
        return self._known.get(key)

    def seen(self, mutant: Mutant) -> str:
        """The test that notices the mutant; empty where none does."""
        return str(self._known[mutant.key]["seen"])

    def add(self, key: str, **row: Any) -> dict[str, Any]:
        self._known[key] = {"key": key, **row}
        with self._path.open("a") as file:
            file.write(json.dumps(self._known[key]) + "\n")
        return self._known[key]


def run(mutants: list[Mutant], tree: Path, results: Results) -> None:
    """Test those without a result; a file of tests is run without a mutant when it is first needed."""
    for number, mutant in enumerate(mutants, start=1):
        if results.of(mutant.key):
            continue
        seen, spent = "", 0.0
        for file in _in_order(mutant, tree, results):
            usual = _usual_seconds(file, tree, results)
            if usual is None:
                continue
            original = (tree / mutant.path).read_text()
            (tree / mutant.path).write_text(mutant.source)
            found = outcome(tree, file, limit=SHORTEST + SLOWEST * usual)
            (tree / mutant.path).write_text(original)
            spent += found.seconds
            if found.code != 0:
                seen = "out of time" if found.code is None else found.first_failure or "import"
                break
        results.add(mutant.key, path=mutant.path, line=mutant.line, change=mutant.change, seen=seen, seconds=round(spent, 1))
        print(f"{number}/{len(mutants)} {mutant.path}:{mutant.line} {mutant.change}: {seen or 'ALIVE'} ({spent:.0f} s)", flush=True)


def _in_order(mutant: Mutant, tree: Path, results: Results) -> list[str]:
    """Files of the mirrored tests: that of the same name first, then those that take least, as far as it is known."""
    (mirror,) = mirrored_tests(mutant.path)
    found = [mirror] if mirror.endswith(".py") else [p.relative_to(tree).as_posix() for p in sorted((tree / mirror).rglob("test_*.py"))]

    def place(file: str) -> tuple[bool, float]:
        known = results.of(_file_key(file, tree))
        return not file.endswith(f"test_{Path(mutant.path).name}"), known["seconds"] if known else math.inf

    return sorted(found, key=place)


def _usual_seconds(file: str, tree: Path, results: Results) -> float | None:
    """CPU seconds of a file of tests without any mutant; None where it fails, so that it cannot tell."""
    key = _file_key(file, tree)
    known = results.of(key)
    if known is None:
        found = outcome(tree, file)
        known = results.add(key, file=file, seconds=round(found.seconds, 1), failure=found.first_failure if found.code else "")
        left_out = f"; left out, it fails: {found.first_failure}" if found.code else ""
        print(f"{file}: {found.seconds:.0f} s as it is{left_out}", flush=True)
    return None if known["failure"] else float(known["seconds"])


def _file_key(file: str, tree: Path) -> str:
    return hashlib.sha256(f"{file}\0{(tree / file).read_text()}".encode()).hexdigest()


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
    """The folder of tests that mirrors the file's, or the nearest above it; for a file that lies loose, the tests of its name."""
    mirror = Path("tests") / Path(path).parent
    if mirror.name == "trainables":
        return ((mirror / f"test_{Path(path).name}").as_posix(),)
    return (next(folder for folder in (mirror, *mirror.parents) if (ROOT / folder).is_dir()).as_posix(),)


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


def outcome(tree: Path, file: str, limit: float = 600.0) -> Outcome:
    """Of a file of tests; `limit` is in seconds of CPU, so that it does not depend on what else the machine does."""
    report, started = tree / "outcome.json", time.monotonic()
    report.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        _in_child(tree, file, report, limit)
    os.setpgid(child, child)  # what its tests start is stopped with it
    code, seconds = _wait(child, lambda: time.monotonic() - started > WAITING)
    return Outcome(None if code == -signal.SIGXCPU else code, seconds, json.loads(report.read_text()) if report.exists() else "")


def _wait(child: int, over: Callable[[], bool]) -> tuple[int | None, float]:
    """(exit status, CPU seconds); no status where it was over."""
    ended = False
    try:
        while not over():
            done, status, used = os.wait4(child, os.WNOHANG)
            if done:
                ended = True
                return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
            time.sleep(0.05)
        return None, WAITING
    finally:
        if not ended:  # out of time, or this process is being stopped
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _in_child(tree: Path, file: str, report: Path, limit: float) -> None:
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit), resource.RLIM_INFINITY))
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
        arguments = ["-x", "-q", "--timeout=0", "-m", "not slow", "-p", "no:cacheprovider", f"--basetemp={tree.parent / 'pytest'}", file]
        code = int(pytest.main(arguments, plugins=[told]))
        code = 0 if code == NO_TESTS else code
        told.write()
    finally:
        os._exit(code)


class _Reports:
    """The first test of pytest's that failed.  Tests that run a whole study on Ray are left out."""

    def __init__(self, path: Path) -> None:
        self._path, self._failure = path, ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if "finished" not in getattr(item, "fixturenames", ())]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self._failure:
            self._failure = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self._failure:
            self._failure = report.nodeid

    def write(self) -> None:
        self._path.write_text(json.dumps(self._failure))


if __name__ == "__main__":
    main()
