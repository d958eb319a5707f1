"""Plug-ins of installed packages: entry points of the group `snrlab.methods`, looked for only when a method is not known otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata

from trainables.errors import ConfigError
from trainables.plugins.loading import load
from trainables.plugins.registry import Plugin

GROUP = "snrlab.methods"


@dataclass(frozen=True)
class Installed:
    """What the entry points of this environment bring."""

    plugins: tuple[Plugin, ...] = ()
    broken: Mapping[str, str] = field(default_factory=dict)  # entry point: what is wrong with it


@cache
def installed() -> Installed:
    """Imports every entry point; one that is broken is a warning here, and no error."""
    plugins, broken = [], {}
    for point in metadata.entry_points(group=GROUP):
        package = f" of package {point.dist.name}" if point.dist else ""
        try:
            plugins.append(load(point.module))
        except ConfigError as error:
            broken[f"entry point {point.name}{package}"] = str(error).removeprefix("plugins: ")
    return Installed(tuple(dict.fromkeys(plugins)), broken)


def looked_at() -> Installed:
    """As `installed`, but nothing where nothing has made this process look so far."""
    return installed() if installed.cache_info().currsize else Installed()


def installed_in_use(classes: Iterable[type]) -> list[str]:
    """Names of the installed plug-ins that these methods are from."""
    plugins = looked_at().plugins
    return list(dict.fromkeys(plugin.name for cls in (classes if plugins else ()) for plugin in plugins if cls in plugin.methods))


def broken() -> str:
    """What may be why a method is not known, as an addition to a message; empty where every entry point that was looked at is whole."""
    found = looked_at().broken
    return f" Could not be looked into: {'; '.join(f'{where}: {what}' for where, what in found.items())}." if found else ""


def warnings() -> list[str]:
    """What was found to be broken, a sentence each."""
    return [f"plugins: {where}: {what}" for where, what in looked_at().broken.items()]
