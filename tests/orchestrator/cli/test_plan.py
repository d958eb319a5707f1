"""What a study would run and cost, and what waiting for earlier results costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.plan import describe
from orchestrator.cli.step_groups import images_of_trials, step_group_lines
from orchestrator.cli.utilisation import lengths_under_stopping, order_lines, utilisation
from orchestrator.records.folders import WorkFolder
from search_spaces.study import Study, make_study
from tests.conftest import tiny_fields
from tests.studies import snrlab
from tests.trainables.plugins.written import weighting
from trainables.errors import ConfigError
from trainables.plugins.new import new_method


def study(space: dict[str, Any], **parts: Any) -> Study:
    return make_study({"name": "s", "base": tiny_fields(), "space": space, **parts})


def planned(space: dict[str, Any], **parts: Any) -> str:
    return describe(study(space, **parts), WorkFolder(Path("runs")))


@pytest.mark.parametrize(("concurrent", "busy"), [(1, 1.0), (4, 0.52), (16, 0.25), (64, 0.14)])
def test_waiting_costs_what_an_earlier_simulation_of_the_same_lengths_found(concurrent: int, busy: float) -> None:
    found = utilisation([1, 3, 9, 27], [2 / 3, 2 / 9, 2 / 27, 1 / 27], sweep=0.5, concurrent=concurrent)
    assert found == pytest.approx(busy, abs=0.05)
    assert found == utilisation([1, 3, 9, 27], [2 / 3, 2 / 9, 2 / 27, 1 / 27], sweep=0.5, concurrent=concurrent)


def test_equal_lengths_wait_for_sweeps_alone() -> None:
    assert utilisation([1], [1], sweep=0.0, concurrent=8) == pytest.approx(1.0)
    assert utilisation([1], [1], sweep=3.0, concurrent=1) == pytest.approx(0.5, abs=0.01)  # each waits for the last but one


def test_lengths_follow_the_rungs() -> None:
    stopping = {"kind": "asha", "grace_images": 128, "reduction_factor": 2}
    lengths, shares = lengths_under_stopping(study({"duration.images": [256, 1024]}, search={"early_stopping": stopping}))
    assert lengths == [128, 256, 512, 1024] and shares == [0.5, 0.25, 0.125, 0.125]
    assert lengths_under_stopping(study({"seed": [0, 1]})) == ([256.0], [1.0])


def test_a_plan_says_what_its_order_means() -> None:
    axes, four = {"seed": [0, 1, 2, 3, 4]}, {"workers": 0, "concurrent_trials": 4}
    asynchronous = list(order_lines(study(axes, compute=four), 64))
    assert len(asynchronous) == 1 and "replays" in asynchronous[0]
    stopping = {"kind": "asha", "grace_images": 128}
    waiting = list(order_lines(study(axes, compute=four, search={"order": "reproducible", "early_stopping": stopping}), 64))
    assert "workers are busy" in waiting[0] and waiting[1] == "search.order: asynchronous keeps them busy"


def test_a_plan_follows_the_longest_trial_and_the_grid() -> None:
    text = planned({"duration.images": [256, 1024], "duration.batch_size": [32, 64]}, search={"sampler": "grid"})
    assert "4 trials" in text and "at most 4 x 256 to 1,024 images, batch 32 to 64" in text
    assert "all of 1,000 drawn are possible" in text


def test_a_plan_of_a_design_lists_its_variants() -> None:
    variants = {"edm": {}, "long": {"duration.images": 512, "weighting": {"kind": "min_snr", "gamma": 2}}}
    designed = make_study({"name": "s", "base": tiny_fields(), "design": {"variants": variants, "seeds": 4}})
    text = describe(designed, WorkFolder(Path("runs")))
    assert "2 variants x 4 seeds, compared each with edm; a difference of 5% matters" in text and "sampler" not in text.split("data")[0]
    assert "duration.images = 512, weighting.kind = min_snr, weighting.gamma = 2" in text and "at most 8 x 256 to 512 images" in text


def test_a_plan_says_what_is_impossible() -> None:
    text = planned({"duration.batch_size": [32, 64], "ema.snapshot_every": [64, 96]})
    assert "% of 1,000 drawn are impossible" in text and "96 is not" in text and text.count("impossible") == 1


GROUPS = {"groups": 3, "budgets": {"kind": "linear", "k": 0.7}, "pruning": {"multiple": 1}, "fine_tune": {"share": 0.75}}


def rows_of(text: str) -> dict[str, list[str]]:
    found = (line.split("  ") for line in text.splitlines() if line.startswith("  "))
    rows = [[cell.strip() for cell in row if cell.strip()] for row in found]
    return {row[0]: row[1:] for row in rows}


def test_a_plan_has_the_groups_with_their_cost_and_images() -> None:
    text = planned({"seed": [0, 1]}, base=tiny_fields(experts=GROUPS))
    rows = rows_of(text)
    assert list(rows)[list(rows).index("base"):][:4] == ["base", "group-1", "group-2", "group-3"]
    assert [rows[f"group-{n}"][1] for n in (1, 2, 3)] == ["80 %", "90 %", "100 %"] and rows["group-3"][2:4] == rows["base"][2:4]
    macs, parameters = ([int(rows[name][column].replace(",", "")) for name in rows if name.startswith(("base", "group"))]
                        for column in (2, 3))
    assert [m / macs[0] for m in macs] == pytest.approx([1, 0.8, 0.9, 1], rel=0.02) and parameters[1] < parameters[2] < parameters[3]
    assert [rows[f"group-{n}"][4] for n in (1, 2, 3)] == ["64", "64", "64"] and rows["base"][4] == "256"
    assert rows["group-1"][0].startswith("log SNR below") and "at most 20 x 448 images in all stages" in text
    assert "% of the base's MACs per image in sampling; 448 training images" in text


def test_what_the_bases_loss_decides_is_left_open() -> None:
    experts = {**GROUPS, "split": "equal_loss", "budgets": {"kind": "linear", "order": "measured"}}
    text = "\n".join(step_group_lines(study({"seed": [0, 1]}, base=tiny_fields(experts=experts))))
    assert rows_of(text)["group-1"] == ["known only when the base is trained", "–", "–", "–", "64"]


def test_images_of_all_stages_follow_what_is_searched() -> None:
    space = {"experts.groups": [1, 4], "experts.fine_tune.share": {"low": 0.25, "high": 2.0}}
    assert images_of_trials(study(space, base=tiny_fields(experts=GROUPS))) == (320, 768)
    assert list(step_group_lines(study({"experts.groups": [1, 4]}))) == ["step groups are searched, and the base recipe has none"]


def test_each_variant_of_a_design_has_its_groups() -> None:
    variants = {"base": {}, "longer": {"duration.images": 512}, "groups": {"experts": GROUPS}}
    design = make_study({"name": "s", "base": tiny_fields(), "design": {"variants": variants}})
    assert [line for line in step_group_lines(design) if "of" in line and line[0] != " "] == [
        "step groups of variant groups, from noise to data"]
    assert images_of_trials(design) == (256, 512)


def test_an_impossible_budget_is_said() -> None:
    with pytest.raises(ConfigError, match="group-1 cannot come down to"):
        experts = {"groups": 1, "budgets": {"kind": "ratios", "ratio_1": 0.4}}
        list(step_group_lines(study({"seed": [0, 1]}, base=tiny_fields(experts=experts))))


def test_classical_averages_are_scored_in_every_slice_of_a_sweep() -> None:
    def generated(**ema: Any) -> int:
        fields = tiny_fields(ema={"snapshot_every": 64, **ema}, evaluation={**tiny_fields()["evaluation"], "guidance": {"by": "weaker"}})
        sweep = {"sigma_rels": [0.1], "times": [0.5, 1.0], "guidance_weights": [1.0, 2.0]}
        text = describe(make_study({"name": "s", "base": fields, "space": {"seed": [0, 1]}, "sweep": sweep}), WorkFolder(Path("runs")))
        line = next(line for line in text.splitlines() if line.startswith("evaluation"))
        return int(line.split()[1].replace(",", ""))

    assert generated(classical=[{"decay": 0.5}]) - generated() == 4 * 64


def test_a_plan_has_the_seeds_and_the_stages_of_a_search() -> None:
    chain = {"ablate": {"seeds": 2}, "confirm": {"top": 2, "seeds": 4}}
    text = planned({"optimiser.lr": {"low": 0.001, "high": 0.1}}, search={"trials": 5, "seeds": 3}, chain=chain)
    assert "5 proposals x 3 seeds, hopeless ones on fewer" in text and "at most 31 x 256 images" in text
    assert "ablate      around the winner, leave_one_out, 2 seeds: at most 4 trials" in text
    assert "confirm     the best 2 and the base on 4 fresh seeds and on fresh latents: at most 12 trials" in text


IN_USE: dict[str, dict[str, Any]] = {
    "base": {"base": tiny_fields(weighting="bad"), "space": {"seed": [0, 1]}},
    "searched": {"base": tiny_fields(), "space": {"weighting.kind": ["edm", "bad"]}},
    "varied": {"base": tiny_fields(), "design": {"variants": {"a": {}, "b": {"weighting": "bad"}}, "seeds": 2}},
}


@pytest.mark.parametrize("fields", IN_USE.values(), ids=IN_USE)
@pytest.mark.parametrize(("formula", "reason"), [("undefined", "NameError: name 'undefined' is not defined"), ("exit(3)", "SystemExit: 3")])
def test_a_method_of_a_plug_in_that_cannot_be_called_is_no_plan(formula: str, reason: str, fields: dict[str, Any], tmp_path: Path) -> None:
    path = weighting(tmp_path / "bad.py", "bad", formula)
    found = make_study({"name": "s", "plugins": [str(path)], **fields})
    with pytest.raises(ConfigError) as caught:
        describe(found, WorkFolder(tmp_path))
    said = f"plugins: {path}: weighting 'bad' fails when it is called: {reason} (line 17 of {path}); snrlab check-plugin says more"
    assert str(caught.value) == said


def test_what_a_plug_in_does_wrong_without_an_error_or_unused_is_left_to_its_own_check(tmp_path: Path) -> None:
    formulas = {"odd": "x / 0 * self.power", "bad": "undefined"}
    paths = [str(weighting(tmp_path / f"{kind}.py", kind, formula)) for kind, formula in formulas.items()]
    found = make_study({"name": "s", "plugins": paths, "base": tiny_fields(weighting="odd"), "space": {"seed": [0, 1]}})
    assert "study       s: " in describe(found, WorkFolder(tmp_path))


def test_an_error_of_a_plug_in_s_own_code_is_one_message(tmp_path: Path) -> None:
    source, _ = new_method("data", "lost", tmp_path)
    text = source.read_text().replace("default_rng(0)", "default_rng('zero')")
    source.write_text(text)
    (tmp_path / "s.yaml").write_text("{name: s, plugins: [./lost.py], base: {data: lost}, space: {seed: [0, 1]}}")
    line = next(number for number, line in enumerate(text.splitlines(), 1) if "default_rng('zero')" in line)
    found = snrlab("plan", "s.yaml", cwd=tmp_path)
    assert found.returncode == 2 and len(found.stderr.splitlines()) == 1, found.stderr
    assert found.stderr.startswith(f"snrlab: plugins: {source}: ") and f"(line {line} of {source}); snrlab check-plugin" in found.stderr
