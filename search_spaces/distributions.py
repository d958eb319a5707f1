"""The range of one searched parameter."""

from __future__ import annotations

import abc
import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from trainables.method import Method

if TYPE_CHECKING:
    import optuna

Scalar = bool | int | float | str | None


class Distribution(Method, abc.ABC):
    """A range, and the conditions under which it is searched at all."""

    when: dict[str, Scalar | list[Scalar]] = Field(
        default_factory=dict, description="searched only where these paths have these values, e.g. {schedule.kind: laplace}"
    )

    @abc.abstractmethod
    def suggest(self, trial: optuna.trial.BaseTrial, path: str) -> Scalar:
        """Ask an Optuna trial for a value."""

    @abc.abstractmethod
    def at(self, share: float) -> Scalar:
        """The value at a share of the range, in [0, 1], on the range's own scale; whole numbers and choices have a cell each.

        Cells have equal widths; on a logarithmic scale that of n reaches from log(n - 1/2) to log(n + 1/2).
        """

    @abc.abstractmethod
    def share_of(self, value: Scalar) -> float:
        """The share at which a value of the range lies, in [0, 1]; of whole numbers and choices the middle of the cell.

        `at` gives the value back: floats to rounding, all others exactly.
        """

    @abc.abstractmethod
    def contains(self, value: Any) -> bool:
        """Whether the range has this value."""

    @property
    @abc.abstractmethod
    def allowed(self) -> str:
        """The range in words, for messages."""

    @abc.abstractmethod
    def extremes(self) -> list[Scalar]:
        """Values at the edges (or all of them), with which a study is tried out before it runs."""

    @abc.abstractmethod
    def grid(self, points: int) -> list[Scalar]:
        """So many values over the range, or all choices."""

    def applies(self, chosen: dict[str, Any]) -> bool:
        """Whether the conditions hold for the values chosen so far."""
        return all(path in chosen and chosen[path] in _as_list(allowed) for path, allowed in self.when.items())


class _Range(Distribution, abc.ABC):
    log: bool = Field(False, description="search on a logarithmic scale")

    @model_validator(mode="after")
    def _in_order(self) -> _Range:
        low, high = self.low, self.high  # type: ignore[attr-defined]
        if low > high:
            raise ValueError(f"low = {low} must not be above high = {high}")
        if self.log and low <= 0:
            raise ValueError(f"a logarithmic range needs low > 0; low = {low}")
        if not math.isfinite(high / low if self.log else float(high) - low):
            raise ValueError(f"from low = {low} to high = {high} is too far for 64-bit floats")
        return self

    @property
    def allowed(self) -> str:
        return f"{self.low:g} to {self.high:g}"  # type: ignore[attr-defined]


class FloatRange(_Range):
    """Real numbers from low to high."""

    kind: Literal["float"] = "float"
    low: float
    high: float

    def suggest(self, trial: optuna.trial.BaseTrial, path: str) -> Scalar:
        return trial.suggest_float(path, self.low, self.high, log=self.log)

    def at(self, share: float) -> float:
        return _between(self.low, self.high, share, self.log)

    def share_of(self, value: Scalar) -> float:
        assert isinstance(value, int | float)
        if self.low == self.high:
            return 0.5
        share = math.log(value / self.low) / math.log(self.high / self.low) if self.log else (value - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, share))

    def contains(self, value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def extremes(self) -> list[Scalar]:
        return [self.low, self.high]

    def grid(self, points: int) -> list[Scalar]:
        return list(_spaced(self.low, self.high, points, self.log))


class IntRange(_Range):
    """Whole numbers from low to high, in steps."""

    kind: Literal["int"] = "int"
    low: int = Field(ge=-(2**40), le=2**40)
    high: int = Field(ge=-(2**40), le=2**40)
    step: int = Field(1, ge=1, le=2**40)

    @model_validator(mode="after")
    def _one_scale(self) -> IntRange:
        if self.log and self.step > 1:
            raise ValueError(f"a logarithmic range has no steps, and step = {self.step}: leave out log or step")
        return self

    def suggest(self, trial: optuna.trial.BaseTrial, path: str) -> Scalar:
        return trial.suggest_int(path, self.low, self._last, step=self.step, log=self.log)

    def at(self, share: float) -> int:
        if self.log:
            return min(self._last, max(self.low, round(math.exp(_between(*self._ends, share, log=False)))))
        return self.low + min(int(share * self._number), self._number - 1) * self.step

    def share_of(self, value: Scalar) -> float:
        assert isinstance(value, int | float)
        if self.log:
            start, end = self._ends
            middle = (math.log(value - 0.5) + math.log(value + 0.5)) / 2
            return (middle - start) / (end - start)
        return ((value - self.low) / self.step + 0.5) / self._number

    def contains(self, value: Any) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool) or not self.low <= value <= self._last:
            return False
        return (value - self.low) % self.step == 0

    def extremes(self) -> list[Scalar]:
        return [self.low, self._last]

    def grid(self, points: int) -> list[Scalar]:
        spaced = _spaced(self.low, self._last, points, self.log)
        return list(dict.fromkeys(self.low + round((v - self.low) / self.step) * self.step for v in spaced))

    @property
    def allowed(self) -> str:
        return f"whole numbers from {self.low} to {self.high}" + (f" in steps of {self.step}" if self.step > 1 else "")

    @property
    def _number(self) -> int:
        return (self.high - self.low) // self.step + 1

    @property
    def _last(self) -> int:
        """The highest value: `high`, or below it where the steps do not meet it."""
        return self.low + (self._number - 1) * self.step

    @property
    def _ends(self) -> tuple[float, float]:
        """Of the logarithmic scale."""
        return math.log(self.low - 0.5), math.log(self.high + 0.5)


class Categorical(Distribution):
    """One of a list of values."""

    kind: Literal["categorical"] = "categorical"
    choices: tuple[Scalar, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _differ(self) -> Categorical:
        twice = [c for i, c in enumerate(self.choices) if c in self.choices[:i]]  # 1, 1.0 and true are one value to Optuna
        if twice:
            raise ValueError(f"each choice may be given once, and {twice[0]!r} (or its equal) is there twice")
        return self

    def suggest(self, trial: optuna.trial.BaseTrial, path: str) -> Scalar:
        return trial.suggest_categorical(path, list(self.choices))

    def at(self, share: float) -> Scalar:
        return self.choices[min(int(share * len(self.choices)), len(self.choices) - 1)]

    def share_of(self, value: Scalar) -> float:
        return (self.choices.index(value) + 0.5) / len(self.choices)

    def contains(self, value: Any) -> bool:
        return any(c == value and isinstance(c, bool) == isinstance(value, bool) for c in self.choices)

    def grid(self, points: int) -> list[Scalar]:
        return list(self.choices)

    def extremes(self) -> list[Scalar]:
        return list(self.choices)

    @property
    def allowed(self) -> str:
        return ", ".join(map(str, self.choices))


def _between(low: float, high: float, share: float, log: bool) -> float:
    value = low * (high / low) ** share if log else low + (high - low) * share
    return min(high, max(low, value))


def _spaced(low: float, high: float, points: int, log: bool) -> list[float]:
    if low == high:
        return [low]
    return [*(_between(low, high, i / (points - 1), log) for i in range(points - 1)), high]


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _short_forms(value: Any) -> Any:
    """A list stands for its choices; a mapping with low and high needs no kind."""
    if isinstance(value, list):
        return {"kind": "categorical", "choices": value}
    if isinstance(value, dict) and "kind" not in value:
        if "choices" in value:
            return {"kind": "categorical", **value}
        whole = all(isinstance(value.get(end), int) and not isinstance(value.get(end), bool) for end in ("low", "high"))
        return {"kind": "int" if whole and "step" in value else "float", **value}
    return value


KINDS: dict[str, type[Method]] = {"float": FloatRange, "int": IntRange, "categorical": Categorical}

AnyDistribution = Annotated[
    Annotated[FloatRange | IntRange | Categorical, Field(discriminator="kind")], BeforeValidator(_short_forms)
]
