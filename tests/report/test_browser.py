"""The report in headless Chromium, opened from disk: errors, requests, filters, keys, hostile text."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.report.build import build_report
from tests.report.making import FIRST, HOSTILE, make_runs

pytest.importorskip("seaborn", reason="the report extra is not installed")
pytest.importorskip("playwright", reason="playwright, which drives the browser, is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium here (apt install chromium)", allow_module_level=True)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    return build_report(make_runs(folder), folder / "report").parent


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Watched:
    """A page and everything that went wrong on it."""

    page: Page
    folder: Path
    errors: list[str] = field(default_factory=list)

    def open(self, name: str) -> Page:
        self.page.goto(f"{self.folder.as_uri()}/{name}")
        if name.startswith("samples"):
            self.page.wait_for_selector("#detail .answer")
        return self.page

    def count(self, expected: int) -> None:
        """Wait until that many samples are left."""
        self.page.wait_for_function(
            "n => document.getElementById('count').textContent.startsWith(`${n} of`)", arg=expected, timeout=5000
        )


@pytest.fixture
def watched(report: Path, chromium: Browser) -> Iterator[Watched]:
    """A fresh page; at its end there was no error, no dialog and no request that left the folder."""
    context = chromium.new_context(viewport={"width": 1300, "height": 900})
    held = Watched(context.new_page(), report)

    def requested(made: Any) -> None:
        if not made.url.startswith(report.as_uri()):
            held.errors.append(f"request to {made.url}")

    def failed(made: Any) -> None:
        if made.failure != "net::ERR_ABORTED":  # a figure still loading when the test goes on to the next page
            held.errors.append(f"{made.failure}: {made.url}")

    held.page.on("request", requested)
    held.page.on("requestfailed", failed)
    held.page.on("console", lambda message: held.errors.append(f"{message.type}: {message.text}"))
    held.page.on("pageerror", lambda error: held.errors.append(str(error)))
    held.page.on("dialog", lambda dialog: (held.errors.append(f"dialog {dialog.message}"), dialog.dismiss()))
    yield held
    context.close()
    assert held.errors == []


def test_tables_of_many_models_fit_a_printed_page(chromium: Browser) -> None:
    page = chromium.new_page(viewport={"width": 1039, "height": 735})  # A4 on its side less the margins, at 96 dpi
    page.goto((Path(__file__).parents[2] / "reports" / "example" / "index.html").as_uri())
    page.emulate_media(media="print")
    boxes = "query => [...document.querySelectorAll(query)].map(e => e.getBoundingClientRect())"
    assert max(box["right"] for box in page.evaluate(boxes, "table")) <= 1039
    assert min(box["width"] for box in page.evaluate(boxes, ".wide:not(details .wide) tbody th")) >= 75, "whole words"


def test_overview_opens_with_all_figures_drawn(watched: Watched) -> None:
    page = watched.open("index.html")
    page.wait_for_function("[...document.images].every(image => image.complete)")
    assert page.evaluate("[...document.images].map(image => image.naturalWidth > 100)") == [True] * 5
    assert page.locator("h1").count() == 1
    assert page.locator("main").count() == 1
    assert page.evaluate("[...document.images].every(image => image.alt.length > 20)")


def test_a_click_on_a_heading_sorts_the_numbers_of_a_table(watched: Watched) -> None:
    page = watched.open("index.html")
    table = page.locator("section", has=page.locator("h3", has_text=re.compile("^Pairs on main metrics$"))).last
    head = table.locator("th", has_text="difference").first
    column = "rows => rows.map(row => parseFloat(row.cells[1].textContent))"
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    up = table.locator("tbody tr").evaluate_all(column)
    assert up == sorted(up)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert table.locator("tbody tr").evaluate_all(column) == sorted(up, reverse=True)


def test_hostile_answers_stay_text(watched: Watched) -> None:
    page = watched.open("samples.html")
    for text in HOSTILE:
        said = page.locator("#detail .answer").nth(1).locator(".said")
        assert said.evaluate("node => node.textContent") == text
        assert said.evaluate("node => node.childElementCount") == 0
        before = page.url
        page.keyboard.press("j")
        page.wait_for_function("before => location.href !== before", arg=before)
        page.wait_for_function("() => document.querySelector('#detail .place a').href === location.href")
    assert page.locator("#detail svg, #detail script").count() == 0


def test_filters_leave_the_samples_that_they_name(watched: Watched) -> None:
    page = watched.open("samples.html")
    watched.count(2 * FIRST)
    page.select_option("#task", label=f"chartqa ({FIRST})")
    watched.count(FIRST)
    page.check("#unscored")
    watched.count(FIRST // 5)
    page.uncheck("#unscored")
    page.select_option("#only", label="exact")
    only = page.locator("#count").text_content()
    page.wait_for_timeout(50)
    rows = page.locator("#rows .row").evaluate_all("rows => rows.map(r => r.querySelector('.marks').textContent)")
    assert rows
    assert all(marks[0] == "✓" and "✓" not in marks[1:] for marks in rows), (only, rows)
    page.click("#reset")
    watched.count(2 * FIRST)
    page.check("#disagree")
    page.wait_for_function("() => !document.getElementById('count').textContent.startsWith('120 of')")
    rows = page.locator("#rows .row").evaluate_all("rows => rows.map(r => r.querySelector('.marks').textContent)")
    assert all("✓" in marks and "✗" in marks for marks in rows)


def test_category_filter_offers_the_fields_of_the_chosen_task(watched: Watched) -> None:
    page = watched.open("samples.html")
    page.select_option("#task", label=f"scienceqa ({FIRST})")
    watched.count(FIRST)
    offered = page.locator("#category option").all_text_contents()
    assert "modality: text" in offered
    assert not [text for text in offered if text.startswith("subset:")]
    page.select_option("#category", "modality: text")
    page.wait_for_function("() => !document.getElementById('count').textContent.startsWith('60 of')")
    page.wait_for_timeout(50)
    assert page.locator("#rows .row").count() > 0


def test_search_finds_answers_and_takes_markup_as_letters(watched: Watched) -> None:
    page = watched.open("samples.html")
    page.keyboard.press("/")
    page.keyboard.type("onerror=alert(1)")
    watched.count(1)
    page.fill("#search", "ONERROR nowhere-to-be-found")
    watched.count(0)
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "list"


def test_keys_go_through_the_list_and_the_address_follows(watched: Watched) -> None:
    page = watched.open("samples.html")
    watched.count(2 * FIRST)
    first = page.url
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    assert page.locator('#rows .row[aria-selected="true"]').get_attribute("aria-posinset") == "3"
    assert page.url != first
    page.keyboard.press("k")
    page.keyboard.press("ArrowUp")
    assert page.url == first
    page.focus("#list")
    page.keyboard.press("End")
    assert page.locator('#rows .row[aria-selected="true"]').get_attribute("aria-posinset") == str(2 * FIRST)
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()


def test_an_address_opens_its_sample_and_an_unknown_one_says_so(watched: Watched, report: Path) -> None:
    page = watched.open("samples.html")
    page.focus("#list")
    page.keyboard.press("End")
    page.wait_for_function("() => document.querySelector('#detail .place a').href === location.href")
    address, text = page.url, page.locator("#detail h2").text_content()
    page.goto("about:blank")
    watched.errors.clear()  # the blank page is no part of the report
    page.goto(address)
    page.wait_for_selector("#detail .answer")
    assert page.locator("#detail h2").text_content() == text
    page.evaluate("location.hash = '#chartqa/<img>'")
    page.wait_for_selector("#detail .absent")
    assert page.locator("#detail").text_content() == "There is no sample <img> in chartqa."


def test_only_rows_in_sight_are_in_the_page(watched: Watched) -> None:
    page = watched.open("samples.html")
    watched.count(2 * FIRST)
    assert page.locator("#rows .row").count() < 40
    page.evaluate("document.getElementById('list').scrollTop = 64 * 80")
    page.wait_for_selector("#row-80")
    assert page.locator("#row-0").count() == 0


@pytest.mark.parametrize("name", ["index.html", "samples.html"])
@pytest.mark.parametrize("width", [1300, 390])
def test_light_and_dark_differ_and_a_phone_does_not_scroll_sideways(watched: Watched, name: str, width: int) -> None:
    page = watched.page
    page.set_viewport_size({"width": width, "height": 850})
    papers = []
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        watched.open(name)
        papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert len(page.screenshot()) > 10_000
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert papers == ["rgb(255, 255, 255)", "rgb(22, 22, 23)"]


def test_text_has_contrast_in_light_and_dark(watched: Watched) -> None:
    script = """() => [...document.querySelectorAll('p, li, a, h1, h2, h3, td, th, button, label, .mark, dt, dd, pre')]
      .filter(node => node.offsetParent && node.textContent.trim())
      .map(node => {
        const none = 'rgba(0, 0, 0, 0)';
        let paper = none;
        for (let at = node; at && paper === none; at = at.parentElement) paper = getComputedStyle(at).backgroundColor;
        return [getComputedStyle(node).color, paper, node.textContent.slice(0, 30)];
      })"""
    for theme in ("light", "dark"):
        watched.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        for name in ("index.html", "samples.html"):
            for ink, paper, text in watched.open(name).evaluate(script):
                assert contrast(ink, paper) >= 4.5, (theme, name, text, ink, paper)


def contrast(one: str, other: str) -> float:
    """The WCAG 2.1 contrast ratio of two `rgb(…)` colours."""

    def luminance(colour: str) -> float:
        parts = [int(v) / 255 for v in re.findall(r"\d+", colour)[:3]]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
