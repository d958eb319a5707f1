"""Addresses of databases and servers, as they may be shown and kept."""

from __future__ import annotations

from urllib.parse import urlsplit


def without_password(url: str) -> str:
    """The address without anything secret: no password, no query."""
    place = urlsplit(url).netloc
    name, at, host = place.rpartition("@")
    return url.partition("?")[0].replace(place, f"{name.partition(':')[0]}{at}{host}", 1) if place else url.partition("?")[0]
