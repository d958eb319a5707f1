"""Errors of plug-ins' own code, told by the line that failed."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from trainables.errors import in_one_line
from trainables.plugins.registry import plugin_with
from trainables.plugins.sources import OURS


def fault_of_plugin(error: BaseException) -> str:
    """What went wrong in a plug-in's code, or in a library that it called, in one line; empty where it was elsewhere."""
    inmost = next((root for root, *_ in reversed(list(_lines(error))) if root in OURS or plugin_with(root)), "")
    plugin = plugin_with(inmost)
    return f"plugins: {plugin.name}: {in_one_line(error)}{line_of(error, plugin.root, plugin.label)}" if plugin else ""


def line_of(error: BaseException, root: str, label: str) -> str:
    """The last line of a plug-in itself that ran, in brackets; empty where none did."""
    numbers = [f" (line {number} of {file or label})" for at, file, number in _lines(error) if at == root]
    return numbers[-1] if numbers else ""


def _lines(error: BaseException) -> Iterator[tuple[str, str, int]]:
    """(outermost module, file, number) of the lines through which an error came, outermost first."""
    for frame, number in traceback.walk_tb(error.__traceback__):
        names = frame.f_globals
        yield names.get("__name__", "").partition(".")[0], names.get("__file__", ""), number
