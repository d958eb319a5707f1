"""Plug-ins in plain data: their names in settings, and their source beside settings that go to other processes and machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainables.plugins.loading import named, receive, send

_SOURCES = "plugin_sources"


def with_named_plugins(fields: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Settings whose `plugins` are named as they are kept, and these names; what is no list of names is left to whoever validates it."""
    given = fields.get("plugins")
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        return dict(fields), ()
    names = named(given)
    return {**fields, "plugins": names}, names


def with_sources(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Settings beside the source of the plug-ins that they name."""
    sources = send(fields.get("plugins", ()))
    return {**fields, **({_SOURCES: {name: dict(files) for name, files in sources.items()}} if sources else {})}


def without_sources(packed: Mapping[str, Any]) -> dict[str, Any]:
    """The settings; plug-ins that this process has not loaded will be loaded from the source beside them."""
    fields = dict(packed)
    receive(fields.pop(_SOURCES, {}))
    return fields
