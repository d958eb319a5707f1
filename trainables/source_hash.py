"""Python source as a hash of what it does; comments, docstrings, descriptions and formatting do not count."""

from __future__ import annotations

import ast
import hashlib

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def source_hash(source: str) -> str:
    """SHA-256, hexadecimal, of Python source without what does not count."""
    return hashlib.sha256(ast.unparse(bare(source)).encode()).hexdigest()


def bare(source: str) -> ast.Module:
    """The tree of Python source without what does not count."""
    tree: ast.Module = _Bare().visit(ast.parse(source))
    return tree


class _Bare(ast.NodeTransformer):
    """Takes out docstrings, descriptions of fields, and imports for type checkers."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, _DOCUMENTED) and node.body and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        node.keywords = [keyword for keyword in node.keywords if keyword.arg != "description"]
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return [self.visit(statement) for statement in node.orelse]
        return self.generic_visit(node)
