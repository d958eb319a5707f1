"""The switch for deterministic algorithms: on while its recipe is trained, then as it was before."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from orchestrator.records import provenance
from tests.conftest import tiny_fields
from trainables.determinism import WORKSPACE, choose_workspace, deterministic
from trainables.errors import ConfigError
from trainables.recipe import make_recipe
from trainables.training.loop import train

CPU, GPU = torch.device("cpu"), torch.device("cuda")
WANTED = make_recipe(tiny_fields(arithmetic={"deterministic": True}))


def test_a_process_that_trains_several_recipes_is_deterministic_with_those_that_want_it(tmp_path: Path, cache: Path) -> None:
    for number, recipe in enumerate([WANTED, make_recipe(tiny_fields()), WANTED]):
        run = train(recipe, tmp_path / str(number), cache)
        next(run)
        assert torch.are_deterministic_algorithms_enabled() is recipe.arithmetic.deterministic
        run.close()  # as early stopping does
        assert not torch.are_deterministic_algorithms_enabled()


def test_what_was_set_before_comes_back_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    before = torch.backends.cudnn.deterministic
    with pytest.raises(ZeroDivisionError), deterministic(True, CPU):
        assert not torch.backends.cudnn.benchmark and torch.backends.cudnn.deterministic
        raise ZeroDivisionError
    assert torch.backends.cudnn.benchmark and torch.backends.cudnn.deterministic is before
    with deterministic(False, CPU):
        assert torch.backends.cudnn.benchmark


def test_an_operator_without_a_deterministic_algorithm_is_named() -> None:
    with pytest.raises(ConfigError, match=r"put_.*set it to false"), deterministic(True, CPU):
        torch.zeros(2).put_(torch.tensor([0]), torch.tensor([1.0]))


@pytest.mark.parametrize(("given", "started", "allowed"), [
    (":4096:8", True, True), (":16:8", False, True), (None, False, True), (None, True, False), (":0:0", False, False),
])
def test_cublas_has_its_workspace_before_it_starts(
    given: str | None, started: bool, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: started)
    monkeypatch.setenv(WORKSPACE, given or "")
    if given is None:
        monkeypatch.delenv(WORKSPACE)
    if not allowed:
        with pytest.raises(ConfigError, match=f"{WORKSPACE} is .*set it to :4096:8 or :16:8"), deterministic(True, GPU):
            pass
        assert not torch.are_deterministic_algorithms_enabled()
        return
    with deterministic(True, GPU):
        assert provenance.collect(WANTED)["deterministic"] == {"wanted": True, WORKSPACE: given or ":4096:8"}
    assert provenance.collect(make_recipe(tiny_fields()))["deterministic"] == {"wanted": False}


def test_a_process_that_takes_one_recipe_after_another_chooses_the_workspace_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKSPACE, ":16:8")
    choose_workspace()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with deterministic(True, GPU):
        assert torch.are_deterministic_algorithms_enabled()


def test_it_says_that_the_cpu_does_not_need_it(tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for name, recipe in {"with": WANTED, "without": make_recipe(tiny_fields())}.items():
            list(train(recipe, tmp_path / name, cache))
    assert [r.message for r in caplog.records if "deterministic" in r.message] == [
        "arithmetic.deterministic changes no number on the CPU: they are the same each time without it"
    ]
