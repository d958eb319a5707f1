"""Every optimiser: built from its settings, bit for bit the same after a resume, and searchable by its kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from search_spaces.overrides import with_values
from search_spaces.study import make_study
from tests.conftest import tiny_fields
from tests.trainables.training.test_training import final_weights
from trainables.errors import ConfigError
from trainables.networks.modules.forced_norm import ForcedNorm
from trainables.networks.modules.magnitude import MPConv
from trainables.networks.modules.uncertainty import UncertaintyHead
from trainables.optimisers import KINDS
from trainables.optimisers.adam import Adam
from trainables.optimisers.adamw import AdamW
from trainables.optimisers.arithmetic import Arithmetic
from trainables.optimisers.optimiser_state import optimiser_tensors
from trainables.optimisers.sgd import Sgd
from trainables.recipe import Recipe, make_recipe
from trainables.training.loop import train

DIT = {"kind": "dit", "width": 16, "depth": 1, "heads": 2}


def quadratic(optimiser: torch.optim.Optimizer, weights: nn.Module, steps: int) -> None:
    for _ in range(steps):
        optimiser.zero_grad()
        sum((p - 3).square().sum() for p in weights.parameters()).backward()
        optimiser.step()


@pytest.mark.parametrize("name", KINDS)
def test_each_goes_downhill(name: str) -> None:
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    before = float((module.weight.detach() - 3).square().mean())
    quadratic(KINDS[name](lr=0.05).build([module]), module, 200)
    assert float((module.weight.detach() - 3).square().mean()) < 0.05 * before


@pytest.mark.parametrize("name", KINDS)
def test_a_state_made_before_any_step_is_the_one_with_which_training_begins(name: str) -> None:
    ends = []
    for looked_at in (False, True):
        torch.manual_seed(0)
        module = nn.Linear(3, 2)
        optimiser = KINDS[name](lr=0.05).build([module])
        if looked_at:
            optimiser_tensors(optimiser)
        quadratic(optimiser, module, 3)
        ends.append(module.weight.detach().clone())
    assert torch.equal(*ends)


def test_the_state_of_a_parameter_that_no_gradient_has_reached_is_made_as_well() -> None:
    states = []
    for trained in (False, True):
        module = nn.Linear(3, 2)
        module.bias.requires_grad_(trained)
        optimiser = KINDS["adam"]().build([module])
        module.weight.grad = torch.ones_like(module.weight)
        optimiser.step()
        state = optimiser_tensors(optimiser)
        before = {name: value.clone() for name, value in state.items()}
        assert all(torch.equal(before[name], value) for name, value in optimiser_tensors(optimiser).items())  # looking changes nothing
        assert (module.weight.grad == 1).all() and module.bias.grad is None
        states.append(state)
    assert [len(state) for state in states] == [3, 6]
    assert float(states[1]["0/step"]) == 1 and not any(states[1][f"1/{slot}"].any() for slot in ("step", "exp_avg", "exp_avg_sq"))


@pytest.mark.parametrize("name", KINDS)
def test_each_is_resumed_bit_for_bit(name: str, tmp_path: Path, cache: Path) -> None:
    recipe = make_recipe(tiny_fields(optimiser={"kind": name, "decay": "cosine", "ramp_up": 64}, network=DIT))
    whole = list(train(recipe, tmp_path / "a", cache))
    cut = train(recipe, tmp_path / "b", cache)
    next(cut)
    cut.close()
    resumed = list(train(recipe, tmp_path / "b", cache))
    assert resumed[-1].metrics["loss"] == whole[-1].metrics["loss"]
    assert (final_weights(tmp_path / "a") == final_weights(tmp_path / "b")).all()


def test_fields_without_a_kind_are_those_of_adam() -> None:
    fields = {"lr": 0.02, "beta1": 0.8, "beta2": 0.95, "eps": 1e-6, "decay_after": 320, "ramp_up": 64}
    assert make_recipe({"optimiser": fields}) == make_recipe({"optimiser": {"kind": "adam", **fields}})
    assert Recipe(optimiser=Adam(lr=0.02)).optimiser == Adam(lr=0.02)
    group = Adam(**fields).build([nn.Linear(2, 2)]).param_groups
    assert len(group) == 1 and (group[0]["lr"], group[0]["betas"], group[0]["eps"]) == (0.02, (0.8, 0.95), 1e-6)


def test_only_free_matrices_decay() -> None:
    forced, free, norm = MPConv(4, 4), MPConv(4, 4, 3, norm="none"), nn.LayerNorm(4)
    groups = AdamW(weight_decay=0.5).build([nn.Sequential(forced, free), norm, UncertaintyHead()]).param_groups
    assert [g["weight_decay"] for g in groups] == [0.5, 0.0]
    assert [id(p) for p in groups[0]["params"]] == [id(free.weight)]
    assert len(Sgd().build([free]).param_groups) == 1


@pytest.mark.parametrize("optimiser", [AdamW(lr=0.1, weight_decay=0.5), Sgd(lr=0.1, momentum=0, weight_decay=0.5)], ids=["adamw", "sgd"])
def test_decay_shrinks_weights_by_its_rate(optimiser: AdamW | Sgd) -> None:
    module = MPConv(4, 4, norm="standard")
    before = module.weight.detach().clone()
    built = optimiser.build([module])
    module.weight.grad = torch.zeros_like(module.weight)
    built.step()
    torch.testing.assert_close(module.weight.detach(), before * (1 - 0.1 * 0.5))


def test_decay_of_forced_norms_is_refused_because_the_next_step_begins_with_the_same_weights() -> None:
    module = MPConv(8, 8)
    ForcedNorm(module)()
    shrunk = MPConv(8, 8)
    with torch.no_grad():
        shrunk.weight.copy_(module.weight * (1 - 0.01 * 0.3))
    ForcedNorm(shrunk, module)()
    torch.testing.assert_close(shrunk.weight, module.weight, rtol=1e-6, atol=1e-6)
    for kind in ("adamw", "sgd"):
        fields = {"kind": kind, "weight_decay": 0.1}
        with pytest.raises(ConfigError, match=r"weight_decay would change nothing.*weight_norm: standard or none"):
            make_recipe({"optimiser": fields})
        make_recipe({"optimiser": fields, "network": {"kind": "edm2", "weight_norm": "standard"}})
        make_recipe({"optimiser": fields, "network": "adm"})
    make_recipe({"optimiser": {"kind": "adamw", "weight_decay": 0}})


def test_a_kind_that_is_searched_keeps_what_all_kinds_share() -> None:
    base = {"optimiser": {"lr": 0.02, "ramp_up": 64, "beta2": 0.95}}
    assert with_values(base, {"optimiser.kind": "adam"}) == {"optimiser": {**base["optimiser"], "kind": "adam"}}
    assert with_values(base, {"optimiser.kind": "sgd", "optimiser.momentum": 0.5}) == {
        "optimiser": {"kind": "sgd", "lr": 0.02, "ramp_up": 64, "momentum": 0.5}}


def test_kinds_are_searched_with_their_own_ranges() -> None:
    study = make_study({"name": "x", "base": {"network": DIT}, "space": {
        "optimiser.kind": ["adam", "adamw", "sgd"], "optimiser.lr": "auto", "optimiser.decay": ["constant", "cosine", "linear"],
        "optimiser.weight_decay": {"kind": "auto", "when": {"optimiser.kind": "adamw"}},
        "optimiser.momentum": {"low": 0.5, "high": 0.99, "when": {"optimiser.kind": ["sgd"]}},
    }})
    lr, decay = study.space["optimiser.lr"], study.space["optimiser.weight_decay"]
    assert (lr.low, lr.high, lr.log) == (1e-5, 0.1, True)  # covers those of all three
    assert (decay.low, decay.high, decay.log) == (1e-3, 0.3, True)  # AdamW's, not SGD's
    sgd = make_study({"name": "x", "base": {"optimiser": "sgd"}, "space": {"optimiser.lr": "auto"}})
    assert (sgd.space["optimiser.lr"].low, sgd.space["optimiser.lr"].high) == (1e-5, 0.1)
    recipe = study.recipe({"optimiser.kind": "sgd", "optimiser.lr": 0.01, "optimiser.decay": "cosine", "optimiser.momentum": 0.6})
    assert recipe.optimiser == Sgd(lr=0.01, decay="cosine", momentum=0.6)


@pytest.mark.parametrize("name", KINDS)
def test_a_first_step_that_is_skipped_on_the_device_leaves_no_trace(name: str) -> None:
    """As dynamic loss scaling skips steps: `found_inf` of torch.amp, which fused optimisers read themselves."""
    ends = []
    for skips in (False, True):
        torch.manual_seed(0)
        module = nn.Linear(30, 20)
        optimiser = KINDS[name](lr=0.05).build([module])
        if skips and getattr(optimiser, "_step_supports_amp_scaling", False):
            torch.full((600,), float("nan"))  # what memory may hold
            for p in module.parameters():
                p.grad = torch.full_like(p, float("inf"))
            optimiser.grad_scale, optimiser.found_inf = None, torch.ones(())
            optimiser.step()
            del optimiser.grad_scale, optimiser.found_inf
        quadratic(optimiser, module, 3)
        ends.append(module.weight.detach().clone())
    assert torch.equal(*ends)


@pytest.mark.parametrize("name", KINDS)
def test_a_step_that_overflows_moves_no_optimiser(name: str, tmp_path: Path, cache: Path) -> None:
    """fp16's dynamic loss scale halves, the step is skipped, and a resumed run has the same numbers."""
    recipe = make_recipe(tiny_fields(
        optimiser={"kind": name, "lr": 1e-3, "clip_norm": 1.0}, network=DIT, arithmetic={"precision": "fp16", "loss_scaling": 2.0**120}))
    whole = list(train(recipe, tmp_path / "a", cache))
    assert whole[-1].metrics["overflow_steps"] > 0 and np.isfinite(whole[-1].metrics["loss"])
    cut = train(recipe, tmp_path / "b", cache)
    next(cut)
    cut.close()
    list(train(recipe, tmp_path / "b", cache))
    assert (final_weights(tmp_path / "a") == final_weights(tmp_path / "b")).all()


RATE = {"lr": 0.01, "decay": "inverse_sqrt", "decay_after": 0, "decay_to": 0.0, "ramp_up": 0, "clip_norm": 0.0}
MOMENTS = {**RATE, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8}  # EDM2's


@pytest.mark.parametrize(("name", "expected"), {
    "adam": MOMENTS, "adamw": {**MOMENTS, "weight_decay": 0.01}, "nadam": MOMENTS, "radam": MOMENTS,
    "sgd": {**RATE, "lr": 0.001, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0},
}.items())
def test_defaults_are_the_published_ones(name: str, expected: dict) -> None:
    assert KINDS[name]().model_dump() == {"kind": name, **expected}
    built = KINDS[name]().build([nn.Linear(2, 2)]).param_groups[0]
    assert built["lr"] == expected["lr"] and built.get("betas", (0.9, 0.99)) == (0.9, 0.99) and built.get("momentum", 0.9) == 0.9


RANGES = {  # low, high, whether in logarithms
    **{f"{name}.lr": (1e-3, 3e-2, True) for name in ("adam", "adamw", "nadam", "radam")},
    "adamw.weight_decay": (1e-3, 0.3, True), "sgd.lr": (1e-5, 0.1, True), "sgd.weight_decay": (1e-5, 1e-2, True),
}


def test_ranges_that_are_searched_by_default() -> None:
    found = {
        f"{name}.{field}": tuple(info.json_schema_extra["search"].values())
        for name, kind in KINDS.items() for field, info in kind.model_fields.items() if info.json_schema_extra
    }
    assert found == RANGES


@pytest.mark.parametrize(("name", "field", "allowed", "refused"), [
    ("adam", "lr", (1e-9,), (0.0,)), ("sgd", "lr", (1e-9,), (0.0,)), ("adam", "decay_after", (0,), (-1,)), ("adam", "ramp_up", (0,), (-1,)),
    ("adam", "clip_norm", (0.0,), (-0.1,)), ("adam", "beta1", (0.0, 0.999), (-0.001, 1.0)), ("adam", "beta2", (0.0, 0.999), (-0.001, 1.0)),
    ("adam", "eps", (1e-12,), (0.0,)), ("adamw", "weight_decay", (0.0,), (-0.001,)), ("sgd", "weight_decay", (0.0,), (-0.001,)),
    ("sgd", "momentum", (0.9, 0.999), (-0.001, 1.0)),
])
def test_edges_of_what_is_allowed(name: str, field: str, allowed: tuple, refused: tuple) -> None:
    for value in allowed:
        assert getattr(KINDS[name](**{field: value}), field) == value
    for value in refused:
        with pytest.raises(ValueError, match=field):
            KINDS[name](**{field: value})


def test_gradients_are_not_accumulated_unless_asked_for() -> None:
    assert Arithmetic().micro_batch == 0
