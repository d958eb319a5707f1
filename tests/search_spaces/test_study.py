"""Studies: conditions, default ranges, overrides, and errors found before anything runs."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from search_spaces.overrides import parse_assignment, with_values
from search_spaces.search import SAMPLERS, STOPPINGS, Search
from search_spaces.space import searched_methods, suggest
from search_spaces.study import bundled_studies, load_study, make_study
from trainables.errors import ConfigError


def test_every_bundled_study_is_valid() -> None:
    assert "quickstart" in bundled_studies()
    for name in bundled_studies():
        assert load_study(name).name == name


def test_conditional_parameters_are_asked_for_only_where_they_mean_something() -> None:
    study = load_study("quickstart")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    kinds = set()
    for _ in range(30):
        values = suggest(study.space, search.ask())
        kinds.add(values["schedule.kind"])
        assert ("schedule.b" in values) == (values["schedule.kind"] == "laplace")
        recipe = study.recipe(values)
        assert recipe.schedule.kind == values["schedule.kind"]
        assert recipe.weighting.gamma == values["weighting.gamma"]
    assert kinds == {"cosine", "laplace", "edm_lognormal"}


def test_auto_is_the_method_s_own_range() -> None:
    gamma = load_study("quickstart").space["weighting.gamma"]
    assert (gamma.low, gamma.high, gamma.log) == (1.0, 20.0, True)
    study = make_study({"name": "x", "space": {
        "schedule.kind": ["cosine", "laplace"], "schedule.b": {"kind": "auto", "when": {"schedule.kind": "laplace"}}}})
    assert (study.space["schedule.b"].low, study.space["schedule.b"].high) == (0.25, 3.0)


def test_a_new_kind_drops_the_settings_of_the_old_one() -> None:
    base = {"schedule": {"kind": "laplace", "b": 1.0}, "optimiser": {"lr": 1}}
    assert with_values(base, {"schedule.kind": "cosine"}) == {"schedule": {"kind": "cosine"}, "optimiser": {"lr": 1}}
    assert with_values({"schedule": "cosine"}, {"schedule.b": 2, "schedule.kind": "laplace"}) == {"schedule": {"kind": "laplace", "b": 2}}
    assert base["schedule"]["b"] == 1.0


def test_another_optimiser_keeps_what_all_optimisers_share() -> None:
    adam = {"optimiser": {"lr": 0.02, "ramp_up": 1280, "beta1": 0.8}}
    assert with_values(adam, {"optimiser.kind": "sgd"}) == {"optimiser": {"kind": "sgd", "lr": 0.02, "ramp_up": 1280}}
    assert with_values(adam, {"optimiser.kind": "adam"}) == {"optimiser": {**adam["optimiser"], "kind": "adam"}}


def test_set_overrides_any_field() -> None:
    changes = dict(parse_assignment(t) for t in ["search.trials=3", "space.weighting.gamma={low: 2, high: 4}", "base.seed=7"])
    study = load_study("quickstart", changes)
    assert study.search.trials == 3 and study.space["weighting.gamma"].high == 4 and study.base_recipe.seed == 7


@pytest.mark.parametrize(("path", "value", "words"), [
    ("search.trails", 3, ["search.trails", "Did you mean 'trials'"]),
    ("search.sampler", "tp", ["search.sampler", "Allowed:", "Did you mean 'tpe'"]),
    ("space.weighting.gama", {"low": 1, "high": 2}, ["space.weighting.gama", "Did you mean 'gamma'"]),
    ("space.schedule.kind", ["cosin"], ["space.schedule.kind = cosin", "Did you mean 'cosine'"]),
    ("space.schedule.b", {"low": 0.3, "high": 2}, ["schedule.b", "no such field"]),  # the condition was forgotten
    ("space.optimiser.lr", {"low": 1, "high": 0.1}, ["space.optimiser.lr", "must not be above"]),
    ("space.schedule.b", {"low": 0.3, "high": 1, "when": {"shedule.kind": "laplace"}}, ["shedule.kind", "Did you mean 'schedule.kind'"]),
    ("base.weighting.gamma", -1, ["base", "weighting.gamma", "-1", "greater than 0"]),
    ("sweep.sigma_rels", [0.5], ["sweep.sigma_rels", "1/sqrt(12)"]),
    ("search.early_stopping.grace_images", 77, ["grace_images", "77", "multiple of"]),
    ("name", "../evil", ["name", "letters, digits"]),
    ("space", None, ["space"]),
    ("compute", {"workers": 0, "gpus_per_worker": 1}, ["compute: workers: 0 trains on the CPU", "set workers: 1"]),
    ("search.warm_start", ["quickstart"], ["search.warm_start", "itself"]),
    ("space.seed", "auto", ["space.seed", "no default range"]),
])
def test_mistakes_are_found_and_explained(path: str, value, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_study("quickstart", {path: value})
    for word in words:
        assert word in str(caught.value)


def test_unknown_studies_and_assignments_are_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'quickstart'"):
        load_study("quickstrat")
    with pytest.raises(ConfigError, match="path=value"):
        parse_assignment("search.trials")
    (tmp_path / "s.yaml").write_text("name: a\nspace:\n  seed: {low: 1, high: 2\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_study(str(tmp_path / "s.yaml"))


def test_conditions_in_a_circle_are_refused() -> None:
    with pytest.raises(ConfigError, match="circle"):
        make_study({"name": "x", "space": {"seed": {"low": 0, "high": 1, "step": 1, "when": {"optimiser.lr": 1}},
                                           "optimiser.lr": {"low": 0.1, "high": 1, "when": {"seed": 1}}}})


def test_a_grid_ends_with_its_last_point() -> None:
    space = {"optimiser.lr": [0.1, 0.2, 0.3], "seed": {"low": 0, "high": 9, "step": 1}}
    assert make_study({"name": "x", "space": space, "search": {"trials": 99, "sampler": {"kind": "grid", "points": 2}}}).trials_wanted == 6
    assert make_study({"name": "x", "space": space, "search": {"trials": 5, "sampler": {"kind": "grid", "points": 2}}}).trials_wanted == 5
    assert make_study({"name": "x", "space": space, "search": {"trials": 99}}).trials_wanted == 99


def test_the_held_out_loss_is_an_objective_where_images_are_held_out() -> None:
    fields = {
        "name": "x", "base": {"data": {"kind": "digits", "held_out": 0.1}}, "space": {"optimiser.lr": {"low": 0.001, "high": 0.01}},
        "search": {"trials": 2, "objectives": [{"metric": "held_out_loss"}]},
    }
    assert make_study(fields).objectives[0].metric == "held_out_loss"
    with pytest.raises(ConfigError, match=r"metric 'held_out_loss' is not this study's"):
        make_study({**fields, "base": {}})


def test_augmentations_and_labels_may_be_searched() -> None:
    study = make_study({
        "name": "x", "space": {
            "augment.kind": {"choices": ["none", "flips", "edm"]}, "conditional": {"choices": [True, False]},
            "augment.probability": {"low": 0.05, "high": 0.2, "when": {"augment.kind": "edm"}},
        }, "search": {"trials": 4},
    })
    recipe = study.recipe({"augment.kind": "edm", "augment.probability": 0.1, "conditional": False})
    assert recipe.augment.kind == "edm" and recipe.augment.probability == 0.1 and not recipe.conditional


@pytest.mark.parametrize(("fields", "field", "allowed", "refused"), [
    ({}, "trials", (1,), (0,)), ({}, "hours", (0, 0.5), (-0.1,)), ({}, "gpu_hours", (0, 0.5), (-0.1,)),
    ({}, "seed", (0, 2**31 - 1), (-1, 2**31)),
    ({"kind": "grid"}, "points", (2,), (1,)), ({"kind": "nsga2"}, "population", (2,), (1,)),
    ({"kind": "asha", "grace_images": 1}, "reduction_factor", (1.5,), (1.0,)), ({"kind": "median"}, "grace_images", (1,), (0,)),
    ({"kind": "median", "grace_images": 1}, "min_trials", (1,), (0,)), ({"kind": "hyperband", "grace_images": 1}, "brackets", (1,), (0,)),
])
def test_edges_of_what_a_search_may_ask_for(fields: dict, field: str, allowed: tuple, refused: tuple) -> None:
    cls = {**SAMPLERS, **STOPPINGS}.get(fields.get("kind", ""), Search)
    for value in allowed:
        assert getattr(cls.model_validate({**fields, field: value}), field) == value
    for value in refused:
        with pytest.raises(ValueError, match=field):
            cls.model_validate({**fields, field: value})


def test_defaults_of_a_search() -> None:
    assert Search().model_dump(include={"trials", "hours", "gpu_hours", "seed", "order"}) == {
        "trials": 20, "hours": 0.0, "gpu_hours": 0.0, "seed": 0, "order": "auto"}
    assert SAMPLERS["grid"]().points == 5 and SAMPLERS["nsga2"]().population == 20
    assert STOPPINGS["asha"](grace_images=1).reduction_factor == STOPPINGS["hyperband"](grace_images=1).brackets == 3
    assert STOPPINGS["median"](grace_images=1).min_trials == 3


@pytest.mark.parametrize(("seeds", "found"), [(1, ()), (3, (7, 8, 9)), ([4, 2], (4, 2))])
def test_seeds_of_a_search_begin_with_the_bases_own(seeds: int | list[int], found: tuple[int, ...]) -> None:
    space = {"optimiser.lr": {"low": 0.01, "high": 0.1}}
    study = make_study({"name": "s", "base": {"seed": 7}, "space": space, "search": {"seeds": seeds}})
    assert study.search_seeds == found


@pytest.mark.parametrize("seeds", [0, -1])
def test_a_search_has_a_seed_at_least(seeds: int) -> None:
    with pytest.raises(ConfigError, match="use at least 1"):
        make_study({"name": "s", "space": {"optimiser.lr": {"low": 0.01, "high": 0.1}}, "search": {"seeds": seeds}})


def test_what_a_study_is_compared_by_does_not_depend_on_how_a_condition_is_written() -> None:
    one, other = (make_study({"name": "s", "space": {
        "schedule.kind": ["cosine", "laplace"], "schedule.b": {"low": 0.25, "high": 2.0, "when": {"schedule.kind": when}},
    }}) for when in ("laplace", ["laplace"]))
    assert one.meaning == other.meaning and one.meaning["space"]["schedule.b"]["when"] == {"schedule.kind": ["laplace"]}


def test_methods_whose_kinds_are_searched_are_found_wherever_they_stand() -> None:
    kinds = {"schedule.kind": ["cosine", "laplace"], "evaluation.sampler.kind": ["heun", "ddim"]}
    space = {**kinds, "optimiser.lr": {"low": 0.01, "high": 0.1}}
    found = [method.__name__ for method in searched_methods(make_study({"name": "s", "space": space}).space)]
    assert sorted(found) == ["Cosine", "Ddim", "Heun", "Laplace"]


@pytest.mark.parametrize(("order", "at_once", "asynchronous"), [
    ("auto", 1, False), ("auto", 2, True), ("reproducible", 2, False), ("asynchronous", 1, True)])
def test_trials_are_proposed_in_any_order_if_asked_for_or_if_several_run(order: str, at_once: int, asynchronous: bool) -> None:
    space = {"optimiser.lr": {"low": 0.01, "high": 0.1}}
    fields = {"name": "s", "space": space, "search": {"order": order}, "compute": {"concurrent_trials": at_once}}
    assert make_study(fields).asynchronous is asynchronous
