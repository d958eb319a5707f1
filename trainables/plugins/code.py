"""The source of plug-ins as hashes, for records and for studies that go on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from trainables.plugins.loading import load
from trainables.source_hash import source_hash


def code_of_plugins(names: Iterable[str]) -> dict[str, str]:
    """Hashes of all source of plug-ins, as this process has loaded it, by the name of each without its folders."""
    found = {}
    for name in names:
        plugin = load(name)
        hashes = [f"{file} {source_hash(text)}\n" for file, text in sorted(plugin.files.items())]
        found[name if plugin.root == plugin.label else plugin.label] = hashlib.sha256("".join(hashes).encode()).hexdigest()
    return found
