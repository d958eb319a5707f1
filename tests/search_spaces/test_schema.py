"""The schema for editors takes every study file that snrlab takes, and marks what is misspelled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from search_spaces.schema import schema
from search_spaces.study import FAMILIES as STUDY_FAMILIES
from search_spaces.study import bundled_studies, compose_study
from tests.conftest import tiny_fields
from trainables.files.yaml_file import load_mapping
from trainables.recipe import FAMILIES

CHECK = jsonschema.Draft202012Validator(schema())


@pytest.mark.parametrize("name", bundled_studies())
def test_it_takes_every_bundled_study_and_each_names_it(name: str) -> None:
    path = bundled_studies()[name]
    CHECK.validate(load_mapping(path, "study"))
    first = path.read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=../study.schema.json" and (path.parent / first.partition("=")[2]).is_file()


SHORT: dict[str, Any] = {"name": "x", "base": tiny_fields(optimiser={"lr": 0.02}, schedule="cosine", data="digits", augment="none")}


@pytest.mark.parametrize("more", [
    {"version": 1, "space": {"seed": [0, 1]}}, {"scales": {"digits": {}, "cifar10": None}, "space": {"seed": [0, 1]}},
    {"space": {"weighting.gamma": "auto", "schedule.kind": ["cosine", "laplace"], "optimiser.lr": {"low": 0.1, "high": 1},
               "schedule.b": {"kind": "auto", "when": {"schedule.kind": "laplace"}}, "network.channels": {"low": 4, "high": 8, "step": 4}},
     "base": tiny_fields(weighting="min_snr")},
    {"design": {"variants": {"a": {}, "b": {"weighting": "snr"}}}}, {"design": {"values": {"optimiser.lr": [0.1, 0.2]}, "seeds": [3, 4]}},
    {"design": {"rows": {"a": {}, "b": {"weighting": "snr"}}}},
    {"sweep": {"sigma_rels": {"low": 0.02, "high": 0.25}}, "space": {"seed": [0, 1]}},
    {"search": {"sampler": "qmc", "early_stopping": "none", "objectives": [{"metric": "fd_probe"}]}, "space": {"seed": [0, 1]}},
])
def test_it_takes_what_a_study_takes_short_forms_too(more: dict[str, Any]) -> None:
    compose_study({**SHORT, **more}, {})
    CHECK.validate({**SHORT, **more})


@pytest.mark.parametrize("more", [
    {"serach": {}}, {"base": {"weighting": "minsnr"}}, {"base": {"weighting": {"kind": "min_snr", "gama": 5}}},
    {"base": {"label_dropout": 2}}, {"version": 2}, {"version": "1"}, {"search": {"trials": 0}}, {"scales": {"mnist": {}}},
    {"space": {"seed": "automatic"}}, {"space": {"seed": {"low": 1}}}, {"design": {"rows": {}, "values": {}}},
])
def test_it_marks_what_is_wrong(more: dict[str, Any]) -> None:
    assert list(CHECK.iter_errors({**SHORT, **more}))


def test_every_method_is_offered_by_its_name_and_by_its_path() -> None:
    text = str(CHECK.schema)
    for kinds in (*FAMILIES.values(), *STUDY_FAMILIES.values()):
        assert all(f"'{kind}'" in text for kind in kinds)
    paths = CHECK.schema["properties"]["space"]["properties"]
    assert {"weighting.gamma", "schedule.kind", "optimiser.lr", "evaluation.guidance.weight", "experts.groups", "seed"} <= set(paths)


def test_methods_of_plug_ins_are_offered_on_demand(tmp_path: Path) -> None:
    """In processes of their own: a plug-in that is in use stays so."""
    snrlab = [sys.executable, "-c", "from orchestrator.cli.app import main; main()"]
    subprocess.run([*snrlab, "new", "weighting", "snr_power"], cwd=tmp_path, check=True)
    asked = [*snrlab, "schema", "--plugin", "./snr_power.py"]
    shown = subprocess.run(asked, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "snr_power" in str(json.loads(shown.stdout)["$defs"]) and "snr_power" not in str(CHECK.schema)
