"""The papers behind a recipe: each method's docstring cites its own, and `references.bib` has the entries.

A citation such as "Hang et al. 2023" or "Kingma & Ba 2015" stands for the entry `hang2023` or `kingma2015`; a method without a citation in
its class has those of its file.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from trainables.method import Method
from trainables.recipe import Recipe
from trainables.sampling.guidance import Guidance

_CITATION = re.compile(r"([A-ZÀ-Þ][\w-]+)(?:\s+et\s+al\.|\s+&\s+[A-ZÀ-Þ][\w-]+)?,?\s+((?:19|20)\d\d[a-z]?)\b")
_ALWAYS = ("akiba2019", "liaw2018")  # the search and its scheduling


def cited(text: str) -> list[str]:
    """Keys of the citations in a text, in order."""
    return list(dict.fromkeys(_ascii(name).lower() + year for name, year in _CITATION.findall(text)))


def citations_of(method: type) -> list[str]:
    """Keys that a method's class cites, or else its file."""
    return cited(method.__doc__ or "") or cited(sys.modules[method.__module__].__doc__ or "")


def citations(recipes: Sequence[Recipe]) -> list[str]:
    """Of all methods of the recipes, EDM2's post-hoc averages and the tools, as far as they have an entry; in alphabetical order."""
    found = {"karras2024", *_ALWAYS}
    for kind in {type(settings) for recipe in recipes for settings in _settings(recipe)}:
        found.update(citations_of(kind) if issubclass(kind, Method) else cited(kind.__doc__ or ""))
    if any(not recipe.evaluation.guidance.off for recipe in recipes):
        found.update(citations_of(Guidance))
    return sorted(found & entries().keys())


def bibtex(keys: Iterable[str]) -> str:
    """The entries, a field a line."""
    return "\n\n".join(re.sub(r", (?=\w+=\{)", ",\n  ", entries()[key]) for key in keys)


@functools.cache
def entries() -> dict[str, str]:
    """Of `references.bib`, by key."""
    lines = (importlib.resources.files("reports") / "references.bib").read_text().splitlines()
    return {line.partition("{")[2].partition(",")[0]: line for line in lines if line.startswith("@")}


def _settings(value: Any) -> Iterator[BaseModel]:
    """Some settings, and all below them."""
    if isinstance(value, BaseModel):
        yield value
        for name in type(value).model_fields:
            yield from _settings(getattr(value, name))
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _settings(each)


def _ascii(name: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", name) if c.isascii())
