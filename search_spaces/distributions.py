"""The range of one searched parameter."""

from __future__ import annotations

import abc
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
        return self

    def extremes(self) -> list[Scalar]:
        return [self.low, self.high]  # type: ignore[attr-defined]


class FloatRange(_Range):
    """Real numbers from low to high."""

    kind: Literal["float"] = "float"
    low: float
    high: float

    def suggest(self, trial: optuna.trial.BaseTrial, path: str) -> Scalar:
        return trial.suggest_float(path, self.low, self.high, log=self.log)

    def grid(self, points: int) -> list[Scalar]:
        return [float(v) for v in _spaced(self.low, self.high, points, self.log)]


class IntRange(_Range):
    """Whole numbers from low to high, in steps."""

    kind: Literal["int"] = "int"
    low: int
    high: int
    step: int = Field(1, ge=1)

    def suggest(self, trial: optuna.trial.BaseTrial, path: str) -> Scalar:
        return trial.suggest_int(path, self.low, self.high, step=1 if self.log else self.step, log=self.log)

    def grid(self, points: int) -> list[Scalar]:
        step = 1 if self.log else self.step
        return list(dict.fromkeys(self.low + round((v - self.low) / step) * step for v in _spaced(self.low, self.high, points, self.log)))


class Categorical(Distribution):
    """One of a list of values."""

    kind: Literal["categorical"] = "categorical"
    choices: tuple[Scalar, ...] = Field(min_length=1)

    def suggest(self, trial: optuna.trial.BaseTrial, path: str) -> Scalar:
        return trial.suggest_categorical(path, list(self.choices))

    def grid(self, points: int) -> list[Scalar]:
        return list(self.choices)

    def extremes(self) -> list[Scalar]:
        return list(self.choices)


def _spaced(low: float, high: float, points: int, log: bool) -> list[float]:
    if low == high:
        return [low]
    shares = [i / (points - 1) for i in range(points)]
    values = [low * (high / low) ** share if log else low + (high - low) * share for share in shares]
    return [*values[:-1], high]


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
