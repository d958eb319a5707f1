"""The proxy search over widths on real digits."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainables.stages.recipes import stepwise
from trainables.stages import recovery
from trainables.stages.preparation import prepare_experts
from trainables.stages.recovery import proxy_rows
from trainables.stages.stage import read_plan


def test_the_best_candidate_is_taken_and_an_interrupted_search_goes_on(
    whole: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base").symlink_to(whole / "base")
    proxy = {"rounds": 2, "per_round": 2, "recovery_images": 32}
    recipe = stepwise({"pruning": {"multiple": 1, "images": 32, "allocation": "proxy", "proxy": proxy}})
    real, scored = recovery.recovered_loss, []

    def score(*arguments, **named) -> float:
        if len(scored) == 3:
            raise KeyboardInterrupt
        scored.append(real(*arguments, **named))
        return scored[-1]

    monkeypatch.setattr(recovery, "recovered_loss", score)
    with pytest.raises(KeyboardInterrupt):
        prepare_experts(recipe, tmp_path, cache)
    first_round = proxy_rows(tmp_path / "group-1")
    assert [row.origin for row in first_round] == ["uniform", "greedy"] and read_plan(tmp_path) is None
    scored.clear()
    plan = prepare_experts(recipe, tmp_path, cache)
    rows = proxy_rows(tmp_path / "group-1")
    assert rows[:2] == first_round and len(rows) == 4 and len(scored) <= 2  # of the second round alone
    best = min((row for row in rows if row.score is not None), key=lambda row: row.score)
    assert dict(plan.experts[0].recipe.network.widths) == dict(best.widths)
    assert plan.experts[0].macs / plan.base_macs == pytest.approx(0.8, rel=0.02)
