"""A folder with bots, and the page of that folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.page.folder import Beside, Folder


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
