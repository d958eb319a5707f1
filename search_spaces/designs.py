"""Ablation designs: which variants are trained, each on the same seeds. Order: seed by seed, so that what is interrupted is balanced."""

from __future__ import annotations

import abc
import itertools
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from search_spaces.fractions import fraction, generators_of
from trainables.method import Method, one_of
from trainables.recipe import FAMILIES

Changes = dict[str, Any]  # of the base recipe: dotted paths or nested settings
_LONGEST_NAME = 100


def _fit_for_a_table(named: dict[str, Changes]) -> dict[str, Changes]:
    for name in named:
        if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
            raise ValueError(f"{reprlib.repr(name)} was given as a name: use 1 to {_LONGEST_NAME} characters in one line")
    return named


Named = Annotated[dict[str, Changes], Field(min_length=1), AfterValidator(_fit_for_a_table)]
Family = Literal["baseline", "pairs", "ladder"]


@dataclass(frozen=True)
class DesignTrial:
    """One variant on one seed."""

    variant: str
    seed: int
    values: dict[str, Any]  # by recipe path, the seed among them


class Design(Method, abc.ABC):
    """Variants, all trained on the same seeds."""

    seeds: int | tuple[Annotated[int, Field(ge=0, lt=2**63)], ...] = Field(
        3, description="number of seeds (0, 1, ...) or the seeds themselves; each variant is trained on every one"
    )
    baseline: str = Field("", description="variant that the others are compared with; default: the first")
    smallest_effect: float = Field(
        0.05, gt=0, lt=1, description="relative difference that matters: bound of equivalence, and what the seeds needed are worked out for"
    )
    looks: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (), description="racing: numbers of seeds after which decided variants get no more; these looks and the last one share the 5 %"
    )

    @abc.abstractmethod
    def changes(self) -> dict[str, Changes]:
        """What each variant changes of the base, by its name, in order."""

    @property
    def family(self) -> Family:
        """Which comparisons are made."""
        return "baseline"

    @property
    def seed_list(self) -> tuple[int, ...]:
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds

    @property
    def baseline_name(self) -> str:
        return self.baseline or next(iter(self.changes()))

    def trials(self) -> list[DesignTrial]:
        """Every variant on every seed, seed by seed."""
        variants = {name: flat(changes) for name, changes in self.changes().items()}
        return [DesignTrial(name, seed, {**values, "seed": seed}) for seed in self.seed_list for name, values in variants.items()]

    @model_validator(mode="after")
    def _whole(self) -> Design:
        seeds, names = self.seed_list, list(self.changes())
        if not seeds or len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds: {self.seeds!r} was given: use at least one, and each once")
        if len(names) < 2:
            raise ValueError(f"a design compares at least two variants, and this one has {len(names)}")
        if self.baseline and self.baseline not in names:
            raise ValueError(f"baseline: '{self.baseline}' is no variant. Variants: {', '.join(names)}")
        if list(self.looks) != sorted(set(self.looks)) or (self.looks and self.looks[-1] >= len(seeds)):
            raise ValueError(f"looks: {list(self.looks)} was given: use rising numbers below {len(seeds)}, after which is the last look")
        variants = [flat(changes) for changes in self.changes().values()]
        for name, values in zip(names, variants, strict=True):
            if "seed" in values:
                raise ValueError(f"variant {name}: sets seed; give seeds beside the variants: every variant is trained on all of them")
        for (a, first), (b, second) in itertools.combinations(zip(names, variants, strict=True), 2):
            if first == second:
                raise ValueError(f"variants {a} and {b} are the same")
        return self


class Variants(Design):
    """Variants by name, each with its changes of the base."""

    kind: Literal["variants"] = "variants"
    variants: Named = Field(description="changes by the variant's name; {} is the base itself")

    def changes(self) -> dict[str, Changes]:
        return dict(self.variants)


class AllPairs(Variants):
    """Variants by name, each compared with every other."""

    kind: Literal["all_pairs"] = "all_pairs"  # type: ignore[assignment]

    @property
    def family(self) -> Family:
        return "pairs"


class OneAtATime(Design):
    """The base, and for each listed value of each path the base with that value alone."""

    kind: Literal["one_at_a_time"] = "one_at_a_time"
    values: dict[str, tuple[Any, ...]] = Field(min_length=1, description="values by recipe path")

    def changes(self) -> dict[str, Changes]:
        alone = {_label(path, value): {path: value} for path, values in self.values.items() for value in values}
        return {"base": {}, **alone}


class LeaveOneOut(Design):
    """All components together, and all but one for each of them."""

    kind: Literal["leave_one_out"] = "leave_one_out"
    components: Named = Field(description="changes by the component's name; the base is without any")

    def changes(self) -> dict[str, Changes]:
        return {"all": _merged(self.components.values())} | {
            f"without {name}": _merged(c for other, c in self.components.items() if other != name) for name in self.components
        }


class Ladder(Design):
    """Each row adds its changes to the row before, and is compared with it."""

    kind: Literal["ladder"] = "ladder"
    rows: Named = Field(description="changes by the row's name; {} as the first row is the base itself")

    def changes(self) -> dict[str, Changes]:
        names = list(self.rows)
        return {name: _merged(self.rows[n] for n in names[: i + 1]) for i, name in enumerate(names)}

    @property
    def family(self) -> Family:
        return "ladder"

    @model_validator(mode="after")
    def _compared_in_order(self) -> Ladder:
        if self.baseline:
            raise ValueError("baseline: each row of a ladder is compared with the one before; leave it out")
        return self


class Factorial(Design):
    """Every combination of the factors' levels, or a regular fraction of those of factors with two levels."""

    kind: Literal["factorial"] = "factorial"
    factors: dict[str, tuple[Any, ...]] = Field(min_length=1, description="levels by recipe path; the first level of each is its baseline")
    resolution: int = Field(
        0, ge=0, description="least resolution of a fraction, for factors of two levels: 3, 4, 5, ...; 0 is all combinations"
    )

    def changes(self) -> dict[str, Changes]:
        return {
            " ".join(_label(path, level) for path, level in zip(self.factors, levels, strict=True)):
            dict(zip(self.factors, levels, strict=True))
            for levels in self._runs()
        }

    def _runs(self) -> Iterator[tuple[Any, ...]]:
        if not self.resolution:
            yield from itertools.product(*self.factors.values())
            return
        for run in fraction(len(self.factors), self.resolution):
            yield tuple(levels[level] for levels, level in zip(self.factors.values(), run, strict=True))

    @model_validator(mode="before")
    @classmethod
    def _two_levels(cls, fields: Any) -> Any:
        """Before the variants are made."""
        if isinstance(fields, dict) and fields.get("resolution") and isinstance(factors := fields.get("factors"), dict):
            others = [path for path, levels in factors.items() if not isinstance(levels, list | tuple) or len(levels) != 2]
            if others:
                named = ", ".join(map(str, others))
                raise ValueError(f"resolution: fractions are of factors with two levels each, which {named} do not have")
            if isinstance(fields["resolution"], int):
                generators_of(len(factors), fields["resolution"])
        return fields


DESIGNS: dict[str, type[Method]] = {cls.model_fields["kind"].default: cls for cls in (
    Variants, AllPairs, OneAtATime, LeaveOneOut, Ladder, Factorial,
)}


def _by_key(value: Any) -> Any:
    """`variants: {...}` without a kind, and likewise for the others: the key that only one kind has says which it is."""
    if isinstance(value, dict) and "kind" not in value:
        own = {"variants": "variants", "values": "one_at_a_time", "components": "leave_one_out", "rows": "ladder", "factors": "factorial"}
        found = [kind for key, kind in own.items() if key in value]
        if len(found) == 1:
            return {"kind": found[0], **value}
    return value


if TYPE_CHECKING:
    AnyDesign = Design
else:
    AnyDesign = Annotated[one_of(DESIGNS), BeforeValidator(_by_key)]


def flat(changes: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested changes as values by dotted path; a method's bare name counts as its kind."""
    return dict(_flat(changes, path))


def _flat(changes: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, value in changes.items():
        whole = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping):
            yield from _flat(value, whole)
        elif isinstance(value, str) and whole.rpartition(".")[2] in FAMILIES:
            yield f"{whole}.kind", value
        else:
            yield whole, value


def _merged(changes: Any) -> Changes:
    """Later changes over earlier ones; a new kind drops the settings of the old one."""
    result: Changes = {}
    for change in changes:
        for path, value in _flat(change, ""):
            if path.endswith(".kind") and result.get(path) != value:
                owner = path.removesuffix("kind")
                result = {p: v for p, v in result.items() if not p.startswith(owner)}
            result[path] = value
    return result


def _label(path: str, value: Any) -> str:
    name = path.removesuffix(".kind").rpartition(".")[2]
    return f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"


def label_of(values: Mapping[str, Any]) -> str:
    """Values by recipe path in few words: `gamma=3.95, lr=0.0432`."""
    return ", ".join(_label(path, value) for path, value in values.items())
