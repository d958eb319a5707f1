"""The source of plug-ins as hashes, for records, for caches, and for studies that go on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from trainables.plugins.loading import load
from trainables.plugins.registry import Plugin, plugin_of
from trainables.source_hash import source_hash


def code_of_plugins(names: Iterable[str]) -> dict[str, str]:
    """Hashes of all source of plug-ins, as this process has loaded it, by the name of each without its folders."""
    plugins = {name: load(name) for name in names}
    return {name if plugin.root == plugin.label else plugin.label: _hash(plugin) for name, plugin in plugins.items()}


def code_of_method(cls: type) -> str:
    """A hash of all source of the plug-in that a method is from; empty for ours."""
    plugin = plugin_of(cls)
    return _hash(plugin) if plugin else ""


def _hash(plugin: Plugin) -> str:
    hashes = [f"{file} {source_hash(text)}\n" for file, text in sorted(plugin.files.items())]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()
