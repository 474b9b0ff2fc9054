"""A folder in which commands run as processes, with a strategy that trades nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paper.test_paper_processes import Shell

IDLE = """
class Idle:
    def on_tick(self, tick):
        return 0
"""


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """The folder; what was started in it ends with the test."""
    made = Shell(tmp_path)
    (tmp_path / "idle.py").write_text(IDLE, encoding="utf-8")
    try:
        yield made
    finally:
        made.clean()
