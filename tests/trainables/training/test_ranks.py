"""Errors and scores of several ranks: an error of one is an error of all, at once, and all generate their share of the images."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import tiny_fields
from tests.trainables.training.thread_ranks import on_ranks
from trainables.errors import ConfigError, Damaged, TrainingFailed, UserError
from trainables.evaluation.scoring import Evaluator
from trainables.optimisers.arithmetic import Arithmetic
from trainables.recipe import Recipe, make_recipe
from trainables.training import metrics_log
from trainables.training.loop import Run, train
from trainables.training.ranks import Ranks
from trainables.training.reporter import Reporter
from trainables.training.steps import Steps


@pytest.mark.parametrize("error", [
    UserError("no disk; give one"), ConfigError("data: ünknown"), Damaged("file: is cut"), TrainingFailed("8 steps"), KeyError("x"),
    OSError(28, "No space left on device"),
], ids=lambda e: type(e).__name__)
def test_an_error_on_one_rank_is_raised_on_all(error: Exception) -> None:
    def work(ranks: Ranks) -> Any:
        def fail() -> str:
            if ranks.rank == 1:
                raise error
            return "done"

        try:
            return ranks.together(fail)
        except Exception as found:
            return found

    found = on_ranks(3, work)
    assert found[1] is error
    for other in (found[0], found[2]):
        if isinstance(error, UserError | TrainingFailed):
            assert type(other) is type(error) and str(other) == str(error)
        else:
            assert type(other) is RuntimeError and str(other).startswith(f"rank 1: {type(error).__name__}: ")
    assert on_ranks(2, lambda ranks: ranks.together(lambda: ranks.rank)) == [0, 1]


def digits(**evaluation: Any) -> Recipe:
    fields = tiny_fields()
    fields["evaluation"] |= {"features": "pixels", "interim_samples": 33, "batch_size": 16, **evaluation}
    return make_recipe(fields)


def test_the_score_is_that_of_one_rank(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """33 images on 1, 2 and 4 ranks, in batches that do not divide them."""
    recipe, real, made = digits(), Evaluator.generate, []

    def generate(self: Evaluator, denoiser: Any, first: int, count: int, *rest: Any, **named: Any) -> np.ndarray:
        made.append((first, count))
        return real(self, denoiser, first, count, *rest, **named)

    monkeypatch.setattr(Evaluator, "generate", generate)
    run, rows = Run(recipe, tmp_path, cache, Ranks()), {}
    for world in (1, 2, 4):
        folder, made[:] = tmp_path / str(world), []

        def report(ranks: Ranks, folder: Path = folder) -> dict[str, float]:
            return Reporter(recipe, folder, cache, run.data, run.model, ranks, lambda: None).report(32, {"loss": 1.0})

        told = on_ranks(world, report)
        (row,) = metrics_log.read(folder)  # one rank alone writes
        assert told[0] == {k: v for k, v in row.items() if k not in ("images", "time", "feature_hash")}
        share = -(-33 // world)
        for rank in range(world):  # of each of the two tracked widths
            assert sum(count for first, count in made if rank * share <= first < (rank + 1) * share) == 2 * share
        rows[world] = told[0]
    for world in (2, 4):
        assert rows[world] == pytest.approx(rows[1], rel=1e-4)


def test_ranks_skip_the_same_steps(tmp_path: Path) -> None:
    def work(ranks: Ranks) -> tuple[Any, ...]:
        weight = torch.nn.Parameter(torch.ones(3))
        steps, optimiser = Steps(Arithmetic(precision="fp16"), ranks.device), torch.optim.Adam([weight], fused=True)
        for step in range(6):
            weight.grad = torch.ones(3)
            losses = torch.full((4,), float("nan") if (step, ranks.rank) in {(1, 1), (3, 0)} else 1.0)
            steps.take(optimiser, ranks.gather(losses).mean())
        return steps.read(), weight.tolist()

    one, other = on_ranks(2, work)
    assert one == other and one[0].nonfinite == 0 + 2 and one[0].finite_losses == 4


def _process(rank: int, folder: str, cache: str) -> None:
    """Of two: trains, then trains something that fails on the second rank while images are generated."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    ranks = Ranks(rank, 2)
    list(train(digits(), Path(folder) / "two", Path(cache), ranks))
    real = Evaluator.generate

    def generate(self: Evaluator, *given: Any, **named: Any) -> np.ndarray:
        if rank == 1:
            raise ConfigError("out of digits")
        return real(self, *given, **named)

    Evaluator.generate = generate  # type: ignore[method-assign]
    started = time.monotonic()
    try:
        list(train(digits(), Path(folder) / "fails", Path(cache), ranks))
        found = "nothing"
    except ConfigError as error:
        found = str(error)
    (Path(folder) / f"{rank}.json").write_text(json.dumps({"found": found, "seconds": time.monotonic() - started}))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_score_as_one_and_fail_together(tmp_path: Path, cache: Path) -> None:
    list(train(digits(), tmp_path / "one", cache))
    torch.multiprocessing.spawn(_process, (str(tmp_path), str(cache)), nprocs=2)
    one, two = (metrics_log.read(tmp_path / name) for name in ("one", "two"))
    assert [r["interim_fd_pixels"] for r in two] == pytest.approx([r["interim_fd_pixels"] for r in one], rel=1e-3)
    for rank in (0, 1):
        told = json.loads((tmp_path / f"{rank}.json").read_text())
        assert told["found"] == "out of digits" and told["seconds"] < 60
