"""A browser for the page's tests: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

AXE = Path(__file__).parent / "axe" / "axe.min.js"
NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = "no browser: install Debian's `chromium`, and Playwright (`make setup`)"
PHONE, DESK = (390, 844), (1280, 900)


def chromium() -> str | None:
    """The program of the browser, or None if this machine has none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browsing() -> Iterator[Any]:
    """A browser until the end of the `with` block."""
    from playwright.sync_api import sync_playwright

    program = chromium()
    assert program is not None
    as_root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=as_root)
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture(scope="session")
def started_browser() -> Iterator[tuple[Any, asyncio.AbstractEventLoop]]:
    if chromium() is None or importlib.util.find_spec("playwright") is None:
        if os.environ.get("CI") and sys.platform == "linux":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with browsing() as started:
        loop = asyncio.get_running_loop()
        yield started, loop
        asyncio._set_running_loop(loop)


@pytest.fixture
def browser(started_browser: tuple[Any, asyncio.AbstractEventLoop]) -> Iterator[Any]:
    """The browser that all tests of this process share."""
    started, loop = started_browser
    # Between its calls Playwright's event loop counts as the running one of this thread, and no
    # test could run another: so it counts only while a test has the browser.
    asyncio._set_running_loop(loop)
    yield started
    # A page that stays open would go on asking a server that has ended.
    for context in started.contexts:
        context.close()
    asyncio._set_running_loop(None)


def gives_axe(window: Any) -> None:
    """Let all pages that a window loads from now on have axe, past their own policy.

    For a window that is asked for the faults of many pages: axe need not be sent for each.
    """
    window.add_init_script(path=AXE)


def looks_good(window: Any, address: str) -> None:
    """A page fits and has no fault: as a phone loads it, and after its window was made wider."""
    resize(window, PHONE)
    window.goto(address)
    window.wait_for_load_state()
    for size in (PHONE, DESK):
        resize(window, size)
        assert overflow_of(window) <= 0, (address, size)
        assert faults_in_both_schemes(window) == [], (address, size)


def resize(window: Any, size: tuple[int, int]) -> None:
    """Give a window another size: width and height, in pixels."""
    window.set_viewport_size({"width": size[0], "height": size[1]})


def faults_of(page: Any) -> list[str]:
    """What axe finds wrong on a page, a line each; the script goes past the page's own policy."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    return _found(page, "{resultTypes: ['violations']}")


def faults_in_both_schemes(page: Any) -> list[str]:
    """What axe finds wrong on a page in the light and in the dark scheme, a line each.

    The schemes differ in colours alone, so only the rules of colours are asked of the dark one.
    """
    page.emulate_media(color_scheme="light")
    found = faults_of(page)
    page.emulate_media(color_scheme="dark")
    # One rule of colours is not for the levels A and AA, and axe leaves it out by itself otherwise.
    without = "rules: {'color-contrast-enhanced': {enabled: false}}"
    dark = _found(page, f"{{resultTypes: ['violations'], runOnly: ['cat.color'], {without}}}")
    page.emulate_media(color_scheme="light")
    return found + [f"dark: {fault}" for fault in dark]


def _found(page: Any, options: str) -> list[str]:
    found = page.evaluate(f"axe.run(document, {options})")
    return [
        f"{one['id']}: {one['help']}: {node['html'][:120]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


def overflow_of(page: Any) -> int:
    """By how many pixels a page is wider than its window."""
    return int(
        page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    )
