"""Tables and figures for papers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from reports.export import export_study, latex_table, latex_text
from reports.methods_text import methods_text
from reports.pages.study_page import StudyPage
from reports.variants import ablation_of
from tests.reports.pages.studies import HOSTILE, a_design, a_search
from tests.reports.test_candidates import seeded_results


def test_what_is_asked_for_is_written(tmp_path: Path) -> None:
    names = {file.name for file in export_study(a_design(), tmp_path, latex=True, csv=True, svgs=True)}
    assert {"table.tex", "methods.tex", "references.bib", "trials.csv", "variants.csv", "forest.csv", "forest.svg", "ema.svg"} <= names
    assert names == {file.name for file in tmp_path.iterdir()}
    assert "hang2023" in (tmp_path / "references.bib").read_text()
    assert {file.suffix for file in export_study(a_search(), tmp_path / "svg", latex=False, csv=False, svgs=True)} == {".svg"}


STUDIES = {"search": a_search(), "design": a_design(), "seeds": seeded_results(), "none": a_search(trials=[])}


@pytest.mark.parametrize("results", STUDIES.values(), ids=STUDIES)
def test_tables_are_latex_whatever_names_say(results, tmp_path: Path) -> None:
    table = latex_table(StudyPage(results))
    body = table.split(r"\midrule")[1].split(r"\bottomrule")[0]
    columns = len(re.search(r"\{(lr+)\}", table)[1])
    assert all(line.count(" & ") == columns - 1 for line in body.strip().splitlines())
    assert not re.search(r"(?<!\\)[&%$#_](?! )", table) and "<" not in table
    if latex := shutil.which("pdflatex"):
        document = r"\documentclass{article}\usepackage{booktabs}\begin{document}" + table + r"\end{document}"
        (tmp_path / "t.tex").write_text(document)
        subprocess.run([latex, "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, check=True, capture_output=True)


def test_no_row_is_taken_for_an_argument_of_the_end_of_the_row_before() -> None:
    results = a_design()
    names = dict(zip(results.definition["design"]["variants"], ("[2ex] base", "*", " [a]"), strict=True))
    results.definition["design"] |= {"variants": {names[name]: c for name, c in results.definition["design"]["variants"].items()},
                                     "baseline": "[2ex] base"}
    table = latex_table(StudyPage(results))
    assert "{}[2ex] base &" in table and "{}* &" in table and "{} [a] &" in table
    assert not re.search(r"\\(\\|midrule)\s*[\[*]", table)


def test_special_characters_are_themselves() -> None:
    assert latex_text(r"a_b & 5 % {x} \ ~ ^ $1 #") == (
        r"a\_b \& 5 \% \{x\} \textbackslash{} \textasciitilde{} \textasciicircum{} \$1 \#")
    assert "<" not in latex_text(HOSTILE)


def test_the_methods_text_says_what_is_common_and_what_was_varied() -> None:
    results = a_design()
    text = methods_text(results, ablation_of(results))
    for words in ("1,797 images of 1x8x8", "the loss weighting is varied", "256 images in batches of 32", "own best of 4 EMA lengths",
                  "sigma_rel from 0.03 to 0.12", "3 variants are trained on 3 common seeds", "Dunnett", "H100", "torch 9.9", "score 4"):
        assert words in text, words
    search = methods_text(a_search(), None)
    assert "17 trials vary weighting.gamma, optimiser.lr, schedule.kind" in search and "learning rate varied" in search
    assert methods_text(a_search(trials=[]), None) == ""


def test_numbers_that_are_not_known_are_dashes() -> None:
    results = a_search()
    results.trials[3].values = {"weighting.gamma": 2.5}
    best = StudyPage(results)
    rows = [line for line in latex_table(best).splitlines() if line.startswith("3 &")]
    assert rows and rows[0].startswith("3 & 2.5 & – & – & ")
