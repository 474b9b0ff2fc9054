"""End the programs of each test: an open door holds several descriptors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.door_world import WORLDS


@pytest.fixture(autouse=True)
def _end_of_worlds() -> Iterator[None]:
    yield
    while WORLDS:
        WORLDS.pop().end()
