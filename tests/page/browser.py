"""A browser for the page's tests: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


def faults_of(page: Any) -> list[str]:
    """What axe finds wrong on a page, a line each; the script goes past the page's own policy."""
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
