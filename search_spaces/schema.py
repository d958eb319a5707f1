"""JSON Schema of study files, for editors: names, meanings and kinds as one types (`snrlab schema`).

It allows all that a study file may say, short forms and parts that a scale completes too, and leaves to `snrlab plan` what only whole
studies can be judged by.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic.json_schema import models_json_schema

from search_spaces.designs import DESIGNS
from search_spaces.distributions import KINDS as DISTRIBUTIONS
from search_spaces.scales import scales
from search_spaces.study import Study
from search_spaces.versions import version
from trainables.plugins.loading import named, use
from trainables.recipe import Recipe

_DEEPEST = 4  # parts of a recipe path that is offered as a name under `space`


def schema(plugins: Sequence[str] = ()) -> dict[str, Any]:
    """The schema (draft 2020-12) as plain data; also of the methods of these plug-ins."""
    use(named(plugins))
    _, found = models_json_schema([(Study, "validation"), (Recipe, "validation")])
    definitions = {name: _with_short_forms(definition) for name, definition in found["$defs"].items()}
    for design in DESIGNS.values():
        definitions[design.__name__].pop("required", None)
    study = definitions.pop("Study")
    axis = {"anyOf": [
        {"const": "auto", "description": "the method's own default range"},
        {"type": "array", "description": "choices"},
        {"type": "object", "properties": {"kind": {"const": "auto"}, "when": {"type": "object"}}, "required": ["kind"]},
        *({"$ref": f"#/$defs/{cls.__name__}"} for cls in DISTRIBUTIONS.values()),
    ]}
    paths = dict.fromkeys(_paths({"$ref": "#/$defs/Recipe"}, definitions))
    study["properties"] |= {
        "version": {"type": "integer", "minimum": 1, "maximum": version(), "description": "of the file's fields; 1 where it is left out"},
        "base": {"$ref": "#/$defs/Recipe"},
        "space": {
            "type": "object", "description": study["properties"]["space"]["description"],
            "properties": {path: {"$ref": "#/$defs/Axis"} for path in paths}, "additionalProperties": {"$ref": "#/$defs/Axis"},
        },
        "scales": {
            "type": "object", "description": "where the study can be run, the default first, each with further fields or {}",
            "propertyNames": {"enum": list(scales())}, "additionalProperties": {"type": ["object", "null"]}, "minProperties": 1,
        },
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "snrlab study", **study,
            "$defs": {**definitions, "Axis": axis}}


def _with_short_forms(node: Any) -> Any:
    """The same without titles, and with a bare name wherever a method may stand."""
    if isinstance(node, list):
        return [_with_short_forms(part) for part in node]
    if not isinstance(node, dict):
        return node
    if "discriminator" in node:
        kinds = sorted(node["discriminator"]["mapping"])
        rest = {key: value for key, value in node.items() if key not in ("discriminator", "oneOf", "title")}
        return {**rest, "anyOf": [{"enum": kinds}, *node["oneOf"]]}
    return {key: _with_short_forms(value) for key, value in node.items() if not (key == "title" and isinstance(value, str))}


def _paths(node: dict[str, Any], definitions: dict[str, Any], before: tuple[str, ...] = ()) -> Iterator[str]:
    """Dotted paths of all that a recipe may hold."""
    if "$ref" in node:
        node = definitions[node["$ref"].rpartition("/")[2]]
    for part in node.get("anyOf", ()):
        yield from _paths(part, definitions, before)
    if len(before) < _DEEPEST:
        for name, inner in node.get("properties", {}).items():
            if name not in before:  # a weighting of a weighting of a weighting
                yield ".".join((*before, name))
                yield from _paths(inner, definitions, (*before, name))
