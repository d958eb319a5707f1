"""The reference page is written from the classes and is up to date."""

from __future__ import annotations

from pathlib import Path

from search_spaces.reference import reference


def test_reference_page_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs/reference.md"
    assert page.read_text() == reference(), "run: python -m search_spaces.reference docs/reference.md"
