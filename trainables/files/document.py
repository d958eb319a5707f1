"""Small records: one JSON object per file, written atomically, with a checksum inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainables.errors import Damaged
from trainables.files import atomic
from trainables.files.checksum import checked, with_checksum


def write(path: Path, data: Mapping[str, Any], indent: int | None = None) -> None:
    """Write an object of JSON values; the file before stays until the new one is whole."""
    atomic.write_text(path, with_checksum(data, indent))


def read(path: Path, way_out: str) -> dict[str, Any]:
    """The object; Damaged with the file, what is wrong and the way out where it is missing, cut short or damaged."""
    try:
        content = path.read_bytes()
        if not content.strip():
            raise ValueError("it is empty")
        return checked(content.decode())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or ("it is no text" if isinstance(error, UnicodeDecodeError) else str(error))
        raise Damaged(f"{path}: cannot be read ({reason}); {way_out}") from None
