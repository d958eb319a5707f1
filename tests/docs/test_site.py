"""The pages as a site: links lead somewhere, every page can be found, nothing is fetched from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.docs.blocks import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_page_is_in_the_navigation_and_no_other() -> None:
    def files(entries: list) -> list[str]:
        return [file for entry in entries for file in (files(next(iter(entry.values()))) if isinstance(entry, dict) else [entry])]

    navigation = files(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(navigation) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_the_readme_is_one_screen_and_its_picture_is_small() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 60
    assert (DOCS / "report.png").stat().st_size < 200_000


def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="needs the extra docs: make env")
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")], cwd=ROOT,
                          capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, timeout=200)
    assert done.returncode == 0, done.stderr
    fetched = re.compile(r"""<(?:script|img|iframe|source)[^>]+src=["'](?:https?:)?//|<link[^>]+href=["'](?:https?:)?//""")
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 20 and [page.name for page in pages if fetched.search(page.read_text())] == []
    styles = "".join(file.read_text() for file in (tmp_path / "site").rglob("*.css"))
    assert not re.search(r"@import|url\(['\"]?(?:https?:)?//", styles)
