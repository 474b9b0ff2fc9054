"""Every screen in a browser: on a phone and a desk, light and dark, by keyboard, without faults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.page.browser import DESK, PHONE, faults_of, gives_axe, looks_good, overflow_of
from tests.page.folder import APPROVER, Folder, Served
from tests.paper.deadline import DEADLINE_SEC

pytestmark = pytest.mark.timeout(300)
SCREENS = (
    *("/", "/books", "/orders", "/story", "/moment", "/accounts", "/figures"),
    *("/approve", "/act/pause", "/act/sync"),
)
DEADLINE_MS = DEADLINE_SEC * 1000


def opened(
    browser: Any, served: Served, size: tuple[int, int] = PHONE, scheme: str = "light", **more: Any
) -> Any:
    """A browser's window on the page, signed in as an approver."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, **more
    )
    context.set_default_timeout(DEADLINE_MS)
    window = context.new_page()
    window.goto(f"{served.address}/sign-in?token={APPROVER}")
    window.wait_for_url(f"{served.address}/")
    return window


def has_title(window: Any, title: str) -> None:
    """Wait for a title of the window."""
    from playwright.sync_api import expect

    expect(window).to_have_title(title, timeout=DEADLINE_MS)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A page whose bot waits for a decision and has one position."""
    folder = Folder(tmp_path_factory.mktemp("served"))
    try:
        folder.bot("bot.log", "--adopt", "ask")
        folder.open_by_hand()
        page = folder.page()
        page.reader.wait_for("/", "1 to decide")
        yield page
    finally:
        folder.clean()


def test_each_screen_fits_and_has_no_fault(browser: Any, served: Served) -> None:
    window = opened(browser, served)
    gives_axe(window)
    said: list[str] = []
    window.on("console", lambda message: said.append(message.text))
    for screen in SCREENS:
        looks_good(window, f"{served.address}{screen}")
    # Charts take the width that they have as they are loaded.
    window.goto(f"{served.address}/figures")
    assert (window.viewport_size["width"], overflow_of(window)) == (DESK[0], 0)
    assert said == []


def test_the_keyboard_reaches_the_decision(browser: Any, served: Served) -> None:
    window = opened(browser, served)
    seen = []
    for _ in range(12):
        window.keyboard.press("Tab")
        seen.append(window.evaluate("document.activeElement.textContent"))
    assert seen[:2] == ["To the content", "Now"]
    assert "Look again, then approve" in seen


def test_the_page_says_in_a_second_that_the_bot_died_and_came_back(
    browser: Any, folder: Folder
) -> None:
    bot = folder.bot()
    window = opened(browser, folder.page())
    assert window.title() == "agrees · trueup"
    bot.child.kill()
    bot.child.wait()
    has_title(window, "1 to do · trueup")
    assert "close by hand in the terminal" in window.inner_text("#state")
    folder.bot("again.log")
    has_title(window, "agrees · trueup")


def test_a_page_whose_server_is_killed_greys_itself(browser: Any, folder: Folder) -> None:
    folder.bot()
    served = folder.page()
    window = opened(browser, served)
    port = int(served.address.rpartition(":")[2])
    served.running.child.kill()
    served.running.child.wait()
    has_title(window, "not live · trueup")
    assert "The line to the page's server is lost since " in window.inner_text("#lost")
    ok = window.evaluate("getComputedStyle(document.querySelector('h1')).color")
    assert ok == window.evaluate("getComputedStyle(document.querySelector('footer')).color")
    assert faults_of(window) == []
    # The browser comes back by itself once the page is served again.
    folder.page(port=port)
    has_title(window, "agrees · trueup")
    assert window.is_hidden("#lost")


def test_eight_tabs_of_a_browser_are_all_alive(browser: Any, folder: Folder) -> None:
    folder.bot()
    served = folder.page()
    first = opened(browser, served)
    tabs = [first, *(first.context.new_page() for _ in range(7))]
    for tab in tabs[1:]:
        tab.goto(f"{served.address}/")
    folder.open_by_hand("buy", "0.05")
    for tab in tabs:
        tab.get_by_role("heading", name="agree on one position").wait_for()


def test_a_hidden_tab_closes_its_stream(browser: Any, served: Served) -> None:
    window = opened(browser, served)
    hide = """(hidden) => {
        Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
        document.dispatchEvent(new Event('visibilitychange', {bubbles: true}));
    }"""
    with window.expect_event("requestfailed", lambda request: "/live" in request.url):
        window.evaluate(hide, True)
    with window.expect_request(lambda request: "/live" in request.url):
        window.evaluate(hide, False)


def test_without_javascript_the_page_loads_itself_again(browser: Any, folder: Folder) -> None:
    folder.bot()
    served = folder.page()
    window = opened(browser, served, java_script_enabled=False)
    assert "Both books are flat" in window.inner_text("h1")
    folder.open_by_hand("buy", "0.05")
    window.get_by_text("agree on one position").first.wait_for()
