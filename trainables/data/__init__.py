"""Data sets: one source per file, found by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trainables.data.images import ImageData
from trainables.data.source import DataSource
from trainables.errors import ConfigError
from trainables.files.yaml_file import parse_mapping
from trainables.method import build, kinds_in, one_of

KINDS = kinds_in(__name__, DataSource)

_BY_SUFFIX = {".parquet": "parquet", ".zip": "edm_zip", ".safetensors": "latents", ".arrow": "arrow"}


def source_of(text: str, on_bad: str = "fail") -> DataSource:
    """A source from settings in YAML, the name of a kind, or a path whose kind its ending tells."""
    if text.lstrip().startswith("{"):
        fields = parse_mapping(text, "data")
    elif text in KINDS:
        fields = {"kind": text}
    else:
        path = Path(text)
        kind = _BY_SUFFIX.get(path.suffix.lower())
        if path.is_dir():
            kind = "parquet" if any(path.glob("*.parquet")) else "image_folder"
        if kind is None:
            raise ConfigError(f"data: '{text}' is neither a folder, nor settings, nor a file of a known kind ({', '.join(_BY_SUFFIX)})")
        fields = {"kind": kind, "root" if kind == "image_folder" else "path": text}
    cls = KINDS.get(fields.get("kind", ""))
    if cls is not None and "on_bad" in cls.model_fields:
        fields.setdefault("on_bad", on_bad)
    return build(KINDS, "data", str(fields.pop("kind", "")), fields)


if TYPE_CHECKING:
    AnyData = DataSource
else:
    AnyData = one_of(KINDS)

__all__ = ["KINDS", "AnyData", "DataSource", "ImageData", "source_of"]
