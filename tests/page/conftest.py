"""A folder with bots, the page of that folder, and a browser that opens it."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.page.browser import MISSING, browsing, chromium
from tests.page.folder import Beside, Folder


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
    asyncio._set_running_loop(None)


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    """A folder with a bot and a page, for the tests that leave both as they were."""
    made = Folder(tmp_path_factory.mktemp("beside"))
    try:
        made.bot()
        yield Beside(made, made.page())
    finally:
        made.clean()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """A folder without a bot; what was started in it ends with the test."""
    made = Folder(tmp_path)
    try:
        yield made
    finally:
        made.clean()
