"""Errors that speak to the person: what was given, what is allowed, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError


class UserError(Exception):
    """Something the user can mend; the command line prints its text alone and exits with 2."""


class ConfigError(UserError):
    """A recipe, study or argument that cannot be used as given."""


class Damaged(UserError):
    """A file of ours that is missing, cut short or changed; the text names it and says the way out."""


class TrainingFailed(Exception):
    """A run that cannot go on, for a reason of its own (for example non-finite losses)."""


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """`, did you mean 'gamma'?` or the empty string."""
    close = difflib.get_close_matches(str(given), list(allowed), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


def explain(error: ValidationError, what: str, kinds: Mapping[str, Mapping[str, type[BaseModel]]],
            model: type[BaseModel]) -> str:
    """One line per problem of a pydantic error: the field, the value, what is allowed, the nearest valid name.

    `kinds` maps a field name to the classes that may stand there (`{"weighting": {"min_snr": MinSnr, ...}}`).
    """
    lines = []
    for problem in error.errors(include_url=False):
        location = [str(part) for part in problem["loc"]]
        # Pydantic puts the chosen kind into the path of a union's member (`weighting.min_snr.gamma`): take it out.
        owner: type[BaseModel] = model
        path: list[str] = []
        for part in location:
            family = kinds.get(path[-1], {}) if path else {}
            if part in family and not (path and path[-1] == part):
                owner = family[part]
                continue
            owner = owner if not path else _model_of(owner, path[-1]) or owner
            path.append(part)
        lines.append(f"{what}: {'.'.join(path) or '(top level)'}: {_reason(problem, owner, kinds.get(path[-1] if path else '', {}))}")
    return "\n".join(lines)


def _model_of(owner: type[BaseModel], name: str) -> type[BaseModel] | None:
    field = owner.model_fields.get(name)
    kind = field.annotation if field else None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _reason(problem: Any, owner: type[BaseModel], family: Mapping[str, Any]) -> str:
    kind, given, context = problem["type"], problem["input"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        allowed = sorted(owner.model_fields)
        return f"there is no such field. Allowed: {', '.join(allowed)}.{did_you_mean(problem['loc'][-1], allowed)}"
    if kind == "union_tag_invalid":
        allowed = sorted(family)
        return f"'{context['tag']}' is not a known kind. Allowed: {', '.join(allowed)}.{did_you_mean(context['tag'], allowed)}"
    if kind == "union_tag_not_found":
        return f"needs a 'kind'. Allowed: {', '.join(sorted(family))}."
    if kind == "missing":
        return "is required and was not given."
    text = problem["msg"].removeprefix("Value error, ")
    return f"{_shorten(given)} was given: {text[:1].lower() + text[1:]}."


def _shorten(value: Any, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def in_one_line(error: BaseException) -> str:
    """An error's kind and the first line of what it says."""
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), 'no message')}"
