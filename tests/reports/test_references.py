"""Papers behind a recipe: each citation of a method's docstring has an entry."""

from __future__ import annotations

import pytest

from reports.references import bibtex, citations, cited, entries
from trainables.recipe import FAMILIES, make_recipe

METHODS = sorted({kind for family in FAMILIES.values() for kind in family.values()}, key=lambda kind: (kind.__module__, kind.__name__))


def test_citations_are_read_from_words() -> None:
    text = "Hang et al. 2023; Kingma & Ba 2015, Kynkäänniemi et al. 2024) and Karras\net al. 2024b, not 2000 images of Adam"
    assert cited(text) == ["hang2023", "kingma2015", "kynkaanniemi2024", "karras2024b"]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_every_citation_of_a_method_has_an_entry(method: type) -> None:
    from reports.references import citations_of

    assert set(citations_of(method)) <= entries().keys()


def test_a_recipe_cites_its_own_methods_and_no_others() -> None:
    plain = citations([make_recipe({"weighting": "min_snr", "schedule": "laplace"})])
    assert {"hang2023", "hang2024", "karras2024", "kingma2015", "akiba2019"} <= set(plain)
    assert not {"choi2022", "ho2022", "li2023"} & set(plain) and plain == sorted(plain)
    guided = citations([make_recipe({"label_dropout": 0.1, "evaluation": {"guidance": {"weight": 2.0}}, "experts": {"groups": 2}})])
    assert {"ho2022", "li2023"} <= set(guided)


def test_entries_are_bibtex() -> None:
    for key, entry in entries().items():
        assert entry.count("{") == entry.count("}") and f"{{{key}," in entry and "year={" in entry and "title={" in entry
    assert bibtex(["hang2023"]).splitlines()[1].startswith("  author={Hang, Tiankai and")
