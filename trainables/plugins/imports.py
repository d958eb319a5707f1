"""Which modules Python source imports, told without running it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator


def imported(tree: ast.AST, module: str, package: bool, is_module: Callable[[str], bool]) -> Iterator[str]:
    """Names of what a module imports, anywhere in it; `from a import b` is `a.b` where that is a module, and `a` otherwise."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".") if package else module.split(".")[:-1]
            outside = above[: len(above) + 1 - node.level] if node.level else []
            origin = ".".join([*outside, *([node.module] if node.module else [])])
            inside = [f"{origin}.{alias.name}" for alias in node.names]
            yield from [name for name in inside if is_module(name)] or [origin]
