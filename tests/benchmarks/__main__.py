"""`python -m tests.benchmarks [name ...]` runs the benchmarks and writes results.json."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import tests.benchmarks
from tests.benchmarks.record import show

found = [m.name for m in pkgutil.iter_modules(tests.benchmarks.__path__) if m.name.startswith("bench_")]
chosen = [name for name in found if not sys.argv[1:] or name.removeprefix("bench_") in sys.argv[1:]]
show([result for name in chosen for result in importlib.import_module(f"tests.benchmarks.{name}").run()])
