"""Reports as people use them: in Chromium, by mouse and by keyboard, light and dark, on a phone and on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reports.pages.folder import write_report
from reports.pages.index_page import StudyLine, line_of, write_index
from reports.pages.study_page import write_page
from tests.reports.pages.axe import violations
from tests.reports.pages.browser import chromium, watched_page
from tests.reports.pages.studies import HOSTILE, a_design, a_search


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The index of two studies, and their reports."""
    root = tmp_path_factory.mktemp("site")
    lines = [StudyLine("broken", HOSTILE, "cannot be shown: " + HOSTILE)]
    for results in (a_search(), a_design()):
        page = write_report(results, root / results.name / "report", "", "../../index.html")
        lines.append(line_of(results, str(page.relative_to(root))))
    write_index(lines, root / "index.html")
    write_page(a_design(), root / "single.html")
    return root


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


PAGES = ["index.html", "a-search/report/index.html", "a-design/report/index.html", "a-search/report/trials/0000.html",
         "a-search/report/trials/0015.html", "a-design/report/trials/0001.html", "single.html"]


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_quiet_need_no_network_and_fit_a_phone(browser, site: Path, page: str) -> None:
    with watched_page(browser, viewport={"width": 400, "height": 800}) as watched:
        shown = watched.open(site / page)
        assert watched.quiet, (watched.complaints, watched.fetched)
        assert shown.evaluate("document.documentElement.scrollWidth") <= 400
        assert shown.evaluate("document.querySelectorAll('.page script:not([type]), img[src=x]').length") == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES[:-1])
def test_nothing_keeps_people_out(browser, site: Path, page: str, theme: str) -> None:
    with watched_page(browser, color_scheme=theme) as watched:
        assert violations(watched.open(site / page)) == []


def test_tables_sort_by_mouse_and_keyboard(browser, site: Path) -> None:
    with watched_page(browser) as watched:
        page = watched.open(site / PAGES[1])
        heading = page.locator("#trials th", has_text="fd_probe")
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == "ascending"
        column = "#trials tbody tr td:nth-child(6)"
        numbers = [float(text) for text in page.locator(column).all_inner_texts() if text not in ("–", "inf")]
        assert len(numbers) == 11 and numbers == sorted(numbers)
        assert page.locator(column).all_inner_texts()[-1] == "–"  # what is missing comes last, whatever the order
        heading.locator("button").focus()
        page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == "descending" and page.locator("#trials [aria-sort]").count() == 1
        assert page.locator(column).all_inner_texts()[-1] == "–"


def test_tables_filter_and_say_how_many_rows_are_left(browser, site: Path) -> None:
    with watched_page(browser) as watched:
        page = watched.open(site / PAGES[1])
        page.get_by_label("Filter rows: table").first.fill("laplace stopped")
        assert page.locator("#trials tbody tr:visible").count() == 1 and "1 of 17 rows" in page.locator(".tools").first.inner_text()
        page.get_by_label("Filter rows: table").first.fill("")
        assert page.locator("#trials tbody tr:visible").count() == 17


def test_studies_are_found_by_their_words_and_opened(browser, site: Path) -> None:
    with watched_page(browser) as watched:
        page = watched.open(site / "index.html")
        page.get_by_role("searchbox").fill("asked")
        assert page.locator("#studies tbody tr:visible").count() == 1
        page.get_by_role("link", name="a-design").click()
        page.get_by_role("link", name="All studies").wait_for()
        assert page.locator("h1").inner_text() == "a-design"


def test_the_theme_is_the_systems_until_the_reader_chooses(browser, site: Path) -> None:
    with watched_page(browser, color_scheme="dark") as watched:
        page = watched.open(site / PAGES[1])
        back = "getComputedStyle(document.body).backgroundColor"
        dark = page.evaluate(back)
        page.get_by_role("button", name="Switch between light and dark").click()
        light = page.evaluate(back)
        assert dark != light == "rgb(255, 255, 255)"
        ink = page.evaluate("document.querySelector('.main-svg .xtitle, .main-svg text').style.fill")
        assert ink == "rgb(26, 35, 48)"  # charts follow
        page.reload()
        assert page.evaluate(back) == light


def test_by_keyboard_alone_one_skips_to_the_content_and_opens_a_trial(browser, site: Path) -> None:
    with watched_page(browser) as watched:
        page = watched.open(site / PAGES[1])
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.dataset.trial") == "0":
                break
        page.keyboard.press("Enter")
        page.wait_for_url("**/trials/0000.html")


def test_a_click_on_a_point_opens_its_trial(browser, site: Path) -> None:
    with watched_page(browser, viewport={"width": 1400, "height": 900}) as watched:
        page = watched.open(site / PAGES[1])
        page.locator("#chart-history").scroll_into_view_if_needed()
        page.locator("#chart-history .scatterlayer .point").nth(5).hover(force=True)
        page.mouse.down()
        page.mouse.up()
        page.wait_for_url("**/trials/*.html")


@pytest.mark.parametrize("page", PAGES)
def test_pages_print_with_all_their_charts(browser, site: Path, page: str, tmp_path: Path) -> None:
    with watched_page(browser, color_scheme="dark") as watched:
        shown = watched.open(site / page)
        content = shown.pdf(path=tmp_path / "page.pdf")
        assert content.startswith(b"%PDF") and len(content) > 10_000
        shown.emulate_media(media="print")
        assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not shown.locator("nav").is_visible()


def test_the_page_of_a_running_study_loads_itself_again(browser, tmp_path: Path) -> None:
    results = a_search(status="RUNNING")
    write_report(results, tmp_path)
    with watched_page(browser) as watched:
        page = watched.open(tmp_path / "index.html")
        assert page.locator("#trials tbody tr").count() == 17
        results.trials.pop()
        write_report(results, tmp_path)
        page.wait_for_function("() => document.querySelectorAll('#trials tbody tr').length === 16", timeout=30_000)
        assert watched.quiet
