"""Where a study's question is asked: data, network, length and evaluation that several studies have in common.

A study that lists `scales` is run at one of them (`--scale`, by default the first).  Its fields are those of the scale's file here, then
its own, then what it lists for that scale; later ones win, and a method of another kind takes the place of the earlier one whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from trainables.errors import ConfigError, did_you_mean
from trainables.files.yaml_file import load_mapping
from trainables.recipe import FAMILIES


def scales() -> dict[str, Path]:
    """The files of all scales, by name."""
    folder = resources.files(__name__)
    return {Path(str(file)).stem: Path(str(file)) for file in sorted(folder.iterdir(), key=str) if str(file).endswith(".yaml")}


def scales_of(file: Path) -> list[str]:
    """The scales that a study's file lists, the default first; none where it is complete by itself."""
    return list(load_mapping(file, "study").get("scales", ()))


def at_scale(study: Mapping[str, Any], scale: str | None, where: str) -> dict[str, Any]:
    """A study's fields at one of the scales that it lists; as they are without such a list.  ConfigError for another scale."""
    if "scales" not in study:
        if scale:
            raise ConfigError(f"--scale {scale}: {where} lists no scales; leave it out, or list some, for example scales: {{digits: {{}}}}")
        return dict(study)
    fields = dict(study)
    listed, known = fields.pop("scales"), scales()
    if not isinstance(listed, Mapping) or not listed or not all(isinstance(own or {}, Mapping) for own in listed.values()):
        raise ConfigError(f"{where}: scales: must list at least one of {', '.join(known)}, each with further fields or {{}}")
    for name in listed:
        if name not in known:
            raise ConfigError(f"{where}: scales: '{name}' is none. Scales: {', '.join(known)}.{did_you_mean(str(name), known)}")
    wanted = scale or next(iter(listed))
    if wanted not in listed:
        raise ConfigError(f"--scale {wanted}: {where} has the scales {', '.join(listed)}.{did_you_mean(wanted, listed)}")
    merged = _over(_over(load_mapping(known[wanted], "scale"), fields), listed[wanted] or {})
    if wanted != next(iter(listed)) and "name" in merged:
        merged["name"] = f"{merged['name']}-{wanted}"
    return merged


def _over(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """The upper fields over the lower ones."""
    result = dict(lower)
    for name, value in upper.items():
        below, value = (_spelled_out(name, given) for given in (result.get(name), value))
        if isinstance(below, Mapping) and isinstance(value, Mapping) and value.get("kind", below.get("kind")) == below.get("kind"):
            result[name] = _over(below, value)
        else:
            result[name] = value
    return result


def _spelled_out(name: str, value: Any) -> Any:
    """`schedule: laplace` is short for its kind."""
    return {"kind": value} if name in FAMILIES and isinstance(value, str) else value
