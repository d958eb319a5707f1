"""JSON objects that notice damage: their first key is a checksum (XXH3-64) of the text of all others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import xxhash

_FIRST, _DIGITS = '{"checksum": "', 16
_END = len(_FIRST) + _DIGITS


def with_checksum(data: Mapping[str, Any], indent: int | None = None) -> str:
    """The object as JSON text, `{"checksum": "...", ...}`."""
    rest = json.dumps(data, indent=indent)[1:]
    return f'{_FIRST}{_digest(rest)}"{", " if data else ""}{rest}'


def checked(text: str) -> dict[str, Any]:
    """The object without its checksum; ValueError where the text is damaged.  Text from before there were checksums is taken as it is."""
    given, rest = text[len(_FIRST):_END], text[_END + 1:].removeprefix(", ")
    if given == _digest(rest):
        return dict(json.loads("{" + rest))
    if text.startswith(_FIRST):
        raise ValueError("its content does not match its checksum: it is damaged, or was changed by hand")
    data = json.loads(text)
    if not isinstance(data, dict):
        raise ValueError("it holds no JSON object")
    return data


def _digest(text: str) -> str:
    return xxhash.xxh3_64_hexdigest(text.encode())
