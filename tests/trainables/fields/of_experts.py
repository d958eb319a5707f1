"""Fields of step-adaptive training: edges, budgets, scores of units, and the stages that are planned from a trained base."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.trainables.experts.test_proxy import run as search_widths
from tests.trainables.fields.field_table import Fields, When
from tests.trainables.stages.recipes import stepwise
from trainables.errors import ConfigError
from trainables.experts import budgets, criteria, splits
from trainables.experts.fine_tuning import FineTuning
from trainables.experts.proxy import Proxy
from trainables.experts.settings import Experts, Pruning
from trainables.experts.splits.split import Axis
from trainables.log_snr import from_edm_sigma
from trainables.networks.modules.start_file import read_start, write_start
from trainables.sampling.heun import Heun
from trainables.schedules.cosine import Cosine
from trainables.stages.composition import base_recipe
from trainables.stages.preparation import prepare_experts
from trainables.stages.recovery import proxy_rows
from trainables.start import Start
from trainables.training.loop import train

_KEPT = tempfile.TemporaryDirectory()  # until the tests end
MOST = 8  # groups


def split_look(split: Any) -> Any:
    groups = len(split.fractions) + 1 if hasattr(split, "fractions") else MOST
    return split.edges(groups, Axis(np.asarray(from_edm_sigma(Heun().levels)), Cosine()))


def budgets_look(made: Any) -> Any:
    return made.ratios(MOST, [float(i % 3) for i in range(MOST)])


def criterion_look(criterion: Any) -> Any:
    from trainables.networks.modules.build import build_denoiser

    recipe = stepwise()
    return dict(criterion.scores(build_denoiser(recipe, recipe.data.load()), []))


@functools.cache
def _base() -> Path:
    """The folder of a whole training whose base is trained."""
    folder = Path(_KEPT.name)
    list(train(base_recipe(stepwise()), folder / "base", folder))
    return folder


def plan_look(experts: Any) -> Any:
    """Every stage that follows from a trained base, and the weights that it begins from."""
    folder, recipe = _base(), stepwise().model_copy(update={"experts": experts})
    (folder / "experts.json").unlink(missing_ok=True)
    plan = prepare_experts(recipe, folder, folder)
    starts = [read_start(folder / expert.name, expert.recipe.start) for expert in plan.experts]
    return [[e.recipe.model_dump_json(include={"levels", "network", "duration", "optimiser", "ema"}), dict(s.state), dict(s.kept)]
            for e, s in zip(plan.experts, starts, strict=True)]


def pruning_look(pruning: Pruning) -> Any:
    return plan_look(EXPERTS.model_copy(update={"pruning": pruning}))


def fine_tuning_look(fine_tune: FineTuning) -> Any:
    return plan_look(EXPERTS.model_copy(update={"fine_tune": fine_tune}))


def proxy_look(proxy: Proxy) -> Any:
    return [[row.origin, dict(row.directions), row.score] for row in search_widths(proxy).rows]


def recovery_look(proxy: Proxy) -> Any:
    """Scores of the candidates after they recovered."""
    pruning_look(Pruning(multiple=1, images=32, allocation="proxy", proxy=proxy))
    rows = proxy_rows(_base() / "group-1")
    (_base() / "group-1" / "proxy.json").unlink()
    return [row.score for row in rows]


def start_look(start: Start) -> Any:
    """Whether it is the start whose weights lie in the folder."""
    there = Start(stage="0" * 64, images=64, sigma_rel=0.1)
    with tempfile.TemporaryDirectory() as folder:
        write_start(Path(folder), there, {"network.weight": torch.zeros(2)})
        try:
            return dict(read_start(Path(folder), start).state)
        except ConfigError as error:
            return str(error).replace(folder, "")


PRUNING = {"multiple": 1, "images": 32}
EXPERTS = Experts.model_validate({"groups": 2, "pruning": PRUNING})
FIELDS = [
    *(Fields(splits.KINDS[kind], split_look, {}) for kind in ("equal_log_snr", "equal_loss", "equal_mass", "equal_steps")),
    Fields(splits.KINDS["given"], split_look, {"fractions": (0.4,)}, base={"fractions": (0.5,)}),
    Fields(splits.KINDS["stick_breaking"], split_look, {f"break_{i}": 0.3 for i in range(1, MOST)}),
    Fields(budgets.KINDS["full"], budgets_look, {}),
    Fields(budgets.KINDS["linear"], budgets_look, {"k": 0.7, "order": "measured"}),
    Fields(budgets.KINDS["ratios"], budgets_look, {
        **{f"ratio_{i}": 0.7 for i in range(1, MOST + 1)}, "monotone": When("rising", {"ratio_2": 0.6})}),
    *(Fields(criteria.KINDS[kind], criterion_look, {}) for kind in ("fisher", "magnitude", "taylor")),
    Fields(criteria.KINDS["random"], criterion_look, {"seed": 1}),
    Fields(Experts, plan_look, {"groups": 1}, base=EXPERTS.model_dump()),
    Fields(Pruning, pruning_look, {"allocation": "greedy", "multiple": 2, "images": 64}, base=PRUNING),
    Fields(FineTuning, fine_tuning_look, {"share": 1.0, "lr": 0.2, "sigma_rel": 0.15}),
    Fields(Proxy, proxy_look, {"rounds": 3, "per_round": 4, "seed": 1}, base={"rounds": 2, "per_round": 3}),
    Fields(
        Start, start_look, {"stage": "1" * 64, "images": 128, "sigma_rel": 0.2, "kept": "0" * 64},
        base={"stage": "0" * 64, "images": 64, "sigma_rel": 0.1},
    ),
]
SLOW = [Fields(Proxy, recovery_look, {"recovery_images": 64}, base={"rounds": 1, "per_round": 2, "recovery_images": 32})]
