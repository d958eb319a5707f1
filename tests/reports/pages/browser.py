"""A real Chromium, driven by Playwright: what a page says on its console, and what it asks the network for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRAWN = "() => [...document.querySelectorAll('.chart')].filter(c => c.offsetParent).every(c => c.querySelector('.main-svg'))"


class Watched:
    """A page with everything that it complained of or fetched."""

    def __init__(self, page: Any) -> None:
        self.page, self.complaints, self.fetched = page, [], []
        page.on("console", lambda message: self.complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(("file:", "data:")) else self.fetched.append(request.url))

    def open(self, path: Path) -> Any:
        """The page with all its charts drawn."""
        self.page.goto(path.as_uri())
        self.page.wait_for_function(DRAWN, timeout=60_000)
        return self.page

    @property
    def quiet(self) -> bool:
        return not self.complaints and not self.fetched


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright; skips where that or Chromium is missing."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra dev")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@contextmanager
def watched_page(browser: Any, **context: Any) -> Iterator[Watched]:
    """A page of a profile of its own."""
    made = browser.new_context(**context)
    yield Watched(made.new_page())
    made.close()
