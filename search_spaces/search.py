"""How a space is searched: sampler, early stopping, objectives, constraints, budgets, starting points."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from search_spaces.distributions import Scalar
from trainables.method import Method, Settings, one_of


class Tpe(Method):
    """Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate, grouped by condition, with constant liar."""

    kind: Literal["tpe"] = "tpe"
    startup_trials: int = Field(10, ge=1, description="random trials before the model is used")


class Gp(Method):
    """Gaussian process with log expected improvement; for few, expensive trials of a space without conditions."""

    kind: Literal["gp"] = "gp"
    startup_trials: int = Field(10, ge=1, description="random trials before the model is used")


class CmaEs(Method):
    """Covariance matrix adaptation (Hansen 2016) of the numeric parameters; the others are drawn at random."""

    kind: Literal["cma_es"] = "cma_es"
    population: int = Field(0, ge=0, description="trials per generation; 0 is 4 + 3 ln(parameters)")


class Nsga2(Method):
    """Non-dominated sorting genetic algorithm II (Deb et al. 2002), for several objectives."""

    kind: Literal["nsga2"] = "nsga2"
    population: int = Field(20, ge=2, description="trials per generation")


class Nsga3(Method):
    """NSGA-III (Deb & Jain 2014), for three objectives and more."""

    kind: Literal["nsga3"] = "nsga3"
    population: int = Field(20, ge=2, description="trials per generation")


class Qmc(Method):
    """Scrambled Sobol points: even cover of a space without conditions."""

    kind: Literal["qmc"] = "qmc"


class Grid(Method):
    """Every combination of lists of choices, and of `points` values of each range, once."""

    kind: Literal["grid"] = "grid"
    points: int = Field(5, ge=2, description="values per range, evenly spaced on its own scale")


class Random(Method):
    """Independent uniform draws."""

    kind: Literal["random"] = "random"


class Asha(Method):
    """Asynchronous successive halving (Li et al. 2020) on the intermediate score."""

    kind: Literal["asha"] = "asha"
    grace_images: int = Field(ge=1, description="no trial is stopped before so many images")
    reduction_factor: float = Field(3.0, gt=1, description="one in so many trials goes on at each rung")


class HyperBand(Method):
    """Asynchronous HyperBand (Li et al. 2018): ASHA in several brackets, each with a later first rung than the one before."""

    kind: Literal["hyperband"] = "hyperband"
    grace_images: int = Field(ge=1, description="first rung of the first bracket")
    reduction_factor: float = Field(3.0, gt=1, description="one in so many trials goes on at each rung")
    brackets: int = Field(3, ge=1, description="number of brackets")


class Median(Method):
    """Stop a trial whose best intermediate score is worse than the median of the others' running means (Golovin et al. 2017)."""

    kind: Literal["median"] = "median"
    grace_images: int = Field(ge=1, description="no trial is stopped before so many images")
    min_trials: int = Field(3, ge=1, description="trials that must have come as far")


class NoStopping(Method):
    """Every trial runs to its end."""

    kind: Literal["none"] = "none"


SAMPLERS: dict[str, type[Method]] = {
    "tpe": Tpe, "gp": Gp, "cma_es": CmaEs, "nsga2": Nsga2, "nsga3": Nsga3, "qmc": Qmc, "grid": Grid, "random": Random,
}
STOPPINGS: dict[str, type[Method]] = {"asha": Asha, "hyperband": HyperBand, "median": Median, "none": NoStopping}


def _no_population_based_training(value: Any) -> Any:
    if value == "pbt" or (isinstance(value, dict) and value.get("kind") == "pbt"):
        raise ValueError("population-based training is out of scope: settings would change as a trial runs, and no variant be what it says")
    return value


class Objective(Settings):
    """A number of every trial that is to be made small or large."""

    metric: str = Field(description="a metric of the sweep (fd_probe, fid, ...) or a cost: macs, parameters, train_seconds, gpu_seconds")
    direction: Literal["minimise", "maximise"] = Field("minimise", description="which way is better")


class Constraint(Settings):
    """A number of every trial that has to stay below a bound for the trial to count as feasible."""

    metric: str = Field(description="as in objectives")
    at_most: float = Field(description="largest feasible value")
    relative: bool = Field(False, description="at_most is a multiple of the base recipe's value (macs and parameters alone)")

    @model_validator(mode="after")
    def _known_of_the_base(self) -> Constraint:
        if self.relative and self.metric not in ("macs", "parameters"):
            raise ValueError(f"relative: only macs and parameters of the base are known before it is trained, not {self.metric}")
        return self


class Search(Settings):
    """How the space is searched."""

    trials: int = Field(20, ge=1, description="number of trials; with several seeds, of proposals, each of which is a trial per seed")
    seeds: int | tuple[Annotated[int, Field(ge=0, lt=2**63)], ...] = Field(
        1, description="seeds that each proposal is trained on: so many from the base's on, or the seeds themselves; "
        "the sampler is told the mean (geometric for distances and costs)"
    )
    drop_hopeless: bool = Field(
        True, description="with several seeds and one objective: train no further seeds of a proposal that is worse than the best so far "
        "at 1 % (paired t test, Bonferroni over the complete proposals, once the spread between seeds has four degrees of freedom)"
    )
    hours: float = Field(0.0, ge=0, description="no trial begins after so many hours of running; 0 is no limit")
    gpu_hours: float = Field(0.0, ge=0, description="no trial begins once so many GPU-hours of training are used; 0 is no limit")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the sampler; trial n draws from (seed, n)")
    order: Literal["auto", "asynchronous", "reproducible"] = Field(
        "auto",
        description="asynchronous: each trial is proposed from everything known by then, which the study's log records, so that it can be "
        "replayed; reproducible: from all results up to a fixed trial, which is waited for; auto: asynchronous from two trials at a time",
    )
    sampler: one_of(SAMPLERS) = Field(default_factory=Tpe, description="what proposes trials")  # type: ignore[valid-type]
    early_stopping: Annotated[one_of(STOPPINGS), BeforeValidator(_no_population_based_training)] = Field(  # type: ignore[valid-type]
        default_factory=NoStopping, description="which trials are stopped before their end"
    )
    objectives: tuple[Objective, ...] = Field((), max_length=4, description="default: the sweep's metric alone, minimised")
    constraints: tuple[Constraint, ...] = Field((), description="bounds; trials beyond them are not ranked")
    points: tuple[dict[str, Scalar], ...] = Field((), description="values of searched parameters with which the first trials start")
    warm_start: tuple[str, ...] = Field((), description="studies in the same work folder whose trials the sampler learns from")

    @model_validator(mode="after")
    def _fit(self) -> Search:
        if len({o.metric for o in self.objectives}) < len(self.objectives):
            raise ValueError("objectives: each metric may be given once")
        if isinstance(self.seeds, int) and self.seeds < 1:
            raise ValueError(f"seeds: {self.seeds} was given: use at least 1")
        if not isinstance(self.seeds, int) and (not self.seeds or len(set(self.seeds)) < len(self.seeds)):
            raise ValueError(f"seeds: {list(self.seeds)} was given: use at least one, and each once")
        several = len(self.objectives) > 1
        if several and isinstance(self.sampler, CmaEs):
            raise ValueError("sampler cma_es takes one objective: use nsga2, tpe or gp for several")
        if self.constraints and isinstance(self.sampler, CmaEs):
            raise ValueError("sampler cma_es takes no constraints: use tpe, gp or nsga2")
        return self
