"""Writes docs/reference.md and the schema for editors from the classes themselves: `python -m search_spaces.reference`.

`python -m search_spaces.reference PAGE [PLUGIN...]` writes the page alone, elsewhere, with the methods of plug-ins.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel

from search_spaces.published import Published
from search_spaces.schema import schema
from search_spaces.search import Constraint, Objective, Search
from search_spaces.study import FAMILIES as STUDY_FAMILIES
from search_spaces.study import Compute, Study, Tracking
from trainables.duration import Duration
from trainables.ema.classical_average import ClassicalAverage
from trainables.ema.settings import Ema
from trainables.ema.sweep_settings import Optimise, Sweep
from trainables.evaluation.settings import Evaluation
from trainables.experts.fine_tuning import FineTuning
from trainables.experts.proxy import Proxy
from trainables.experts.settings import Experts, Pruning
from trainables.guide import Guide
from trainables.method import Method
from trainables.optimisers.arithmetic import Arithmetic
from trainables.plugins.loading import named, use
from trainables.recipe import FAMILIES, Recipe
from trainables.schedules.restricted import Levels
from trainables.start import Start

PAGE = Path(__file__).parents[1] / "docs/reference.md"
SCHEMA = Path(__file__).parent / "study.schema.json"  # named by the first line of the bundled studies


def reference(plugins: Sequence[str] = ()) -> str:
    """Every field of a study file: meaning, range, default, default search range; also of the methods of these plug-ins."""
    use(named(plugins))
    parts = [
        "# Reference\n\nWritten by `python -m search_spaces.reference`; do not edit.\n",
        "## Study\n", _table(Study), "\n### search\n", _table(Search), "\n### search.objectives\n", _table(Objective),
        "\n### search.constraints\n", _table(Constraint), "\n### sweep\n", _table(Sweep),
        "\n### sweep.sigma_rels as a range\n", _table(Optimise), "\n### compute\n", _table(Compute), "\n### tracking\n", _table(Tracking),
        "\n### published\n", _table(Published),
        *_families(STUDY_FAMILIES, "###"), "\n## Recipe (base)\n", _table(Recipe),
        "\n### start\n", _table(Start), "\n### levels\n", _table(Levels), "\n### guide\n", _table(Guide),
        "\n### experts\n", _table(Experts),
        "\n### experts.pruning\n", _table(Pruning), "\n### experts.pruning.proxy\n", _table(Proxy),
        "\n### experts.fine_tune\n", _table(FineTuning),
        "\n### arithmetic\n", _table(Arithmetic),
        "\n### ema\n", _table(Ema), "\n### ema.classical\n", _table(ClassicalAverage), "\n### duration\n", _table(Duration),
        "\n### evaluation\n", _table(Evaluation), *_families(FAMILIES, "##"),
    ]
    return "\n".join(parts) + "\n"


def _families(families: Any, level: str) -> list[str]:
    lines = []
    for family, kinds in families.items():
        lines.append(f"\n{level} {family}\n")
        for kind, cls in getattr(kinds, "at_hand", kinds).items():
            lines += [f"\n**`{kind}`** – {_first_paragraph(cls)}\n", _table(cls)]
    return lines


def _first_paragraph(cls: type[Method]) -> str:
    return " ".join((cls.__doc__ or "").strip().split("\n\n")[0].split())


def _table(cls: type[BaseModel]) -> str:
    rows = []
    for name, field in cls.model_fields.items():
        if name == "kind":
            continue
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        search: Any = extra.get("search")
        default = "required" if field.is_required() else "" if field.default_factory else f"`{field.default}`"
        wanted = f"{search['low']:g} .. {search['high']:g}{' log' if search['log'] else ''}" if search else ""
        rows.append(f"| `{name}` | {field.description or ''} | {_bounds(field.metadata)} | {default} | {wanted} |")
    if not rows:
        return "No settings.\n"
    return "\n".join(["| field | meaning | allowed | default | `auto` |", "|---|---|---|---|---|", *rows]) + "\n"


def _bounds(metadata: list[Any]) -> str:
    signs = [(Gt, "> ", "gt"), (Ge, ">= ", "ge"), (Lt, "< ", "lt"), (Le, "<= ", "le")]
    return ", ".join(f"{sign}{getattr(m, name):g}" for m in metadata for cls, sign, name in signs if isinstance(m, cls))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(reference(sys.argv[2:]))
    else:
        PAGE.write_text(reference())
        SCHEMA.write_text(json.dumps(schema(), indent=1) + "\n")
