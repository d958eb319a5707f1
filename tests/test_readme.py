"""What the README shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from search_spaces.study import make_study
from trainables.files.yaml_file import parse_mapping

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_study_file_of_the_readme_is_valid_and_so_is_its_design() -> None:
    search, design = (parse_mapping(text, "README") for text in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL))
    study = make_study(search)
    assert study.search.trials == 20 and set(study.space) == {"weighting.gamma", "schedule.kind", "schedule.b"}
    ablation = make_study({**{key: search[key] for key in ("name", "base", "sweep", "compute")}, **design})
    assert len(ablation.design_trials) == 15


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (Path(__file__).parent.parent / target).exists(), target
