"""The page, in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from .conftest import Running, Start

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="needs a browser: apt-get install chromium"),
    pytest.mark.slow,
]

QUERY = "remove white space from both ends"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, running: Running) -> Iterator[Page]:
    """A page of which every request stays with the server, and no script fails."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, locale="en-GB")
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    opened.on("request", lambda r: None if r.url.startswith((running.url, "data:")) else wrong.append(r.url))
    opened.goto(running.url)
    yield opened
    context.close()
    assert not wrong


def answering(status: int, message: str) -> Callable[[Route], None]:
    return lambda route: route.fulfill(status=status, json={"message": message})


def ask(page: Page, query: str = QUERY) -> None:
    page.fill("#query", query)
    expect(page.locator("#columns.two")).to_be_visible()


def test_search_as_typed_with_both_stages(page: Page, running: Running) -> None:
    ask(page)
    expected = running.search(QUERY)
    hits = page.locator("#hits > .hit")
    expect(hits).to_have_count(len(expected["hits"]))
    assert [hit.get_attribute("data-id") for hit in hits.all()] == [h["document_id"] for h in expected["hits"]]
    first = page.locator("#retrieved > li")
    assert [row.get_attribute("data-id") for row in first.all()] == expected["retrieved"][:20]
    assert hits.first.locator("mark").count() > 0
    place = expected["retrieved"].index(expected["hits"][0]["document_id"])
    expect(hits.first.locator(".moved")).to_have_text("same place" if place == 0 else f"▲ up {place}")
    expect(hits.first.locator(".meter + span")).to_contain_text("relevance")
    expect(page.locator("#cost")).to_contain_text("rerank")
    expect(page.locator("#cost")).to_contain_text("candidates")
    hits.first.locator("summary").click()
    expect(hits.first.locator("table")).to_contain_text("cross-encoder")
    assert "q=remove" in page.url


def test_rerank_switch_and_filter(page: Page) -> None:
    ask(page)
    page.click("#rerank")
    expect(page.locator("#columns")).not_to_have_class("two")
    expect(page.locator("#first")).to_be_hidden()
    assert not page.locator("#hits .meter").count()
    page.locator(".facet", has_text="home").get_by_role("button", name="bytes").click()
    expect(page.locator("#hits .hit").first).to_contain_text("bytes.")
    page.wait_for_function(
        "[...document.querySelectorAll('#hits > .hit')].every(h => h.dataset.id.startsWith('bytes.'))"
    )
    expect(page.get_by_role("button", name="bytes", pressed=True)).to_be_visible()


def test_keyboard_and_document(page: Page) -> None:
    ask(page)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    chosen = page.locator(".hit.chosen")
    identity = chosen.get_attribute("data-id")
    page.keyboard.press("Enter")
    expect(page.locator("#document")).to_be_visible()
    expect(page.locator("#document-title")).to_have_text(identity or "")
    expect(page.locator("#document-text .found")).to_be_visible()
    expect(page.locator("#document-metadata")).to_contain_text("home:")
    page.keyboard.press("Escape")
    expect(page.locator("#document")).to_be_hidden()
    page.keyboard.press("r")
    expect(page.locator("#rerank")).not_to_be_checked()
    page.keyboard.press("/")
    expect(page.locator("#query")).to_be_focused()


def test_nothing_found_and_errors(page: Page) -> None:
    page.select_option("#least", "0.75")
    page.fill("#query", "recipes for sourdough bread")
    expect(page.locator("#status")).to_have_text("Nothing is that relevant.")


def test_what_the_server_refuses_is_shown(browser: Browser, running: Running) -> None:
    page = browser.new_page()
    page.goto(running.url)
    for status, message in ((500, "it failed; the log of the server says why"), (400, "query is empty")):
        page.route("**/search", answering(status, message))
        page.fill("#query", f"words {status}")
        expect(page.locator("#status.error")).to_have_text(message)
        page.unroute("**/search")
    page.route("**/search", lambda route: route.abort())
    page.fill("#query", "nobody answers")
    expect(page.locator("#status.error")).to_have_text("The server does not answer.")
    page.close()


def test_a_key_is_asked_for(index: Path, serve: Start, browser: Browser) -> None:
    server = serve(index, environment={"BICROSS_API_KEY": "k" * 32})
    page = browser.new_page()
    page.goto(server.url)
    expect(page.locator("#ask-key")).to_be_visible()
    page.fill("#key", "k" * 32)
    page.keyboard.press("Enter")
    ask(page)
    page.close()


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_both_languages_any_width_for_everybody(page: Page, width: int, theme: str) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=theme)
    ask(page)
    for language in ("zh", "en"):
        page.click("#language")
        expect(page.locator("html")).to_have_attribute("lang", language)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = Axe().run(page)
        serious = [v["id"] for v in found.response["violations"] if v["impact"] in ("serious", "critical")]
        assert not serious, found.generate_report()
    page.locator("#hits .title").first.click()
    expect(page.locator("#document")).to_be_visible()
    serious = [v["id"] for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")]
    assert not serious
