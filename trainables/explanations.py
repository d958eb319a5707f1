"""What pydantic found wrong with settings, in the words of the file: the path, the value, what is allowed, the nearest valid name."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from trainables.errors import did_you_mean
from trainables.plugins import entry_points
from trainables.plugins.registry import FAMILIES

# What each of pydantic's types of error asks for.
_WANTED = {
    "tuple_type": "a list", "list_type": "a list", "dict_type": "a mapping", "string_type": "text", "path_type": "a path",
    "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number", "float_parsing": "a number", "finite_number": "a finite number",
    "bool_type": "true or false", "bool_parsing": "true or false",
    "none_required": "null", "string_unicode": "text",
}
_MODEL_TYPES = {"model_type", "model_attributes_type"}  # something else than a mapping stands where settings belong
_KINDS = _MODEL_TYPES | _WANTED.keys()  # the value is of the wrong kind altogether

_MOST_LINES = 20

_short = reprlib.Repr()
_short.maxlevel, _short.maxdict, _short.maxlist, _short.maxtuple, _short.maxstring, _short.maxother = 2, 4, 6, 6, 60, 60


def explain(error: ValidationError, what: str, model: type[BaseModel]) -> str:
    """One line per problem of a validation error of `model`; `what` begins each line."""
    problems = [_Problem.of(dict(problem), model) for problem in error.errors(include_url=False, include_context=True)]
    inner = {p.path[:-1] for p in problems}
    problems = [p for p in problems if p.error["type"] != "too_short" or p.path not in inner]  # it is short by what was wrong in it
    lines = []
    for alternative in dict.fromkeys(p.alternative for p in problems):
        lines += _reasons([p for p in problems if p.alternative == alternative], alternative is not None)
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"and {len(lines) - _MOST_LINES} problems more"]
    return "\n".join(f"{what}: {line}" if what else line for line in lines)


@dataclass(frozen=True)
class _Problem:
    """One of pydantic's errors, and where it stands."""

    error: dict[str, Any]
    path: tuple[str, ...]  # as in the file: without the names that pydantic gives to the members of a union
    owner: type[BaseModel]  # whose field the last part of the path is
    expected: Any  # the annotation of what belongs there
    alternative: tuple[str, ...] | None = None  # the path of the outermost field that may take several forms
    form: str = ""  # which of these the error is about

    @staticmethod
    def of(error: dict[str, Any], model: type[BaseModel]) -> _Problem:
        path: list[str] = []
        owner, here, alternative, form = model, _bare(model), None, ""
        for part in error["loc"]:
            if part == "[key]":
                continue
            members = _members(here)
            if len(members) > 1:
                settings = [m for m in members if _is_settings(m) and (_kind(m) == part or m.__name__ in str(part))]
                here = settings[0] if settings else next(m for m in members if not _is_settings(m))
                if not _kind(here) and alternative is None:
                    alternative, form = tuple(path), str(part)
                continue
            here, arguments = members[0], get_args(members[0])
            if _is_settings(here):
                owner = here
                field = owner.model_fields.get(str(part))
                here = _bare(field.annotation) if field else Any
            elif not (arguments or here is Any):
                continue
            else:
                here = _bare(arguments[1 if get_origin(here) in (dict, Mapping) else 0]) if arguments else Any
            path.append(str(part))
        return _Problem(error, tuple(path), owner, here, alternative, form)

    @property
    def place(self) -> str:
        """`weighting.gamma: `; nothing where the settings as a whole are meant."""
        return f"{'.'.join(self.path)}: " if self.path else ""

    @property
    def wrong_kind(self) -> bool:
        return self.path == self.alternative and self.error["type"] in _KINDS

    @property
    def wanted(self) -> str:
        """What may stand there."""
        if self.error["type"] not in _MODEL_TYPES:
            return _WANTED[self.error["type"]]
        settings = [m for m in _members(self.expected) if _is_settings(m)]
        if len(settings) == 1:
            return f"a mapping of {', '.join(settings[0].model_fields)}"
        return f"a mapping with one of the kinds {', '.join(sorted(map(_kind, settings)))}"


def _reasons(problems: Sequence[_Problem], alternatives: bool) -> list[str]:
    """Lines for problems; of alternative forms, those that the value comes close to, or all in one line."""
    if not alternatives:
        return [p.place + _reason(p) for p in problems]
    misfits = {p.form for p in problems if p.wrong_kind}
    close = [p for p in problems if p.form not in misfits]
    if close:
        return [p.place + _reason(p) for p in close]
    *others, last = dict.fromkeys(p.wanted for p in problems if p.wrong_kind)
    wanted = f"{', '.join(others)} or {last}" if others else last
    return [f"{problems[0].place}{_short.repr(problems[0].error['input'])} was given: must be {wanted}."]


def _reason(problem: _Problem) -> str:
    kind, given, context = problem.error["type"], problem.error["input"], problem.error.get("ctx", {})
    if kind == "extra_forbidden":
        allowed = sorted(problem.owner.model_fields)
        return f"there is no such field. Allowed: {', '.join(allowed)}.{did_you_mean(problem.path[-1], allowed)}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        allowed = sorted(_kind(m) for m in _members(problem.expected))
        if kind == "union_tag_not_found":
            return f"needs a 'kind'. Allowed: {', '.join(allowed)}."
        hints = f"{did_you_mean(context['tag'], allowed)}{entry_points.broken()}"
        return f"{_short.repr(context['tag'])} is not a known kind. Allowed: {', '.join(allowed)}.{hints}"
    if kind == "missing":
        return "is required and was not given."
    if kind == "invalid_key":
        return f"{_short.repr(given)} was given as a name: must be text."
    if kind in _KINDS:
        return f"{_short.repr(given)} was given: must be {problem.wanted}."
    text = problem.error["msg"].removeprefix("Value error, ")
    text = f"{text[:1].lower() + text[1:]}."
    return text if isinstance(given, Mapping | BaseModel) else f"{_short.repr(given)} was given: {text}"


def _bare(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _members(annotation: Any) -> list[Any]:
    """What may stand there besides null."""
    annotation = _bare(annotation)
    if isinstance(annotation, type) and annotation in FAMILIES:
        return list(FAMILIES[annotation].values())
    if get_origin(annotation) not in (Union, UnionType):
        return [annotation]
    members = [_bare(member) for member in get_args(annotation) if member is not NoneType]
    return _members(members[0]) if len(members) == 1 else members


def _is_settings(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _kind(annotation: Any) -> str:
    """The kind of a method's settings; empty for others."""
    field = annotation.model_fields.get("kind") if _is_settings(annotation) else None
    return str(field.default) if field else ""
