"""A simulated account with a watch beside a bot that is not ours, and the report's browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shadow.world import NETTING, ShadowWorld


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ShadowWorld]:
    """A hedging account."""
    made = ShadowWorld(tmp_path)
    yield made
    made.close()


@pytest.fixture
def netting(tmp_path: Path) -> Iterator[ShadowWorld]:
    """A netting account."""
    made = ShadowWorld(tmp_path, NETTING)
    yield made
    made.close()
