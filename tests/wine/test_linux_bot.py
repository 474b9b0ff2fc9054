"""A bot on Linux at a gateway on Windows, through kills of both; the broker's ledger judges."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.harness import Harness
from tests.crash.hurts import KILLS
from tests.support.crash_world import Terminal
from tests.support.gateway_world import Gateway
from tests.wine import windows_python

EVENTS = 10
KINDS = [kind for kind in KILLS if not kind.name.startswith("worker")]


@pytest.mark.timeout(1_200)
def test_a_bot_on_linux_and_a_gateway_on_windows_are_killed_and_lose_and_repeat_nothing(
    tmp_path: Path,
) -> None:
    python, variables = windows_python.command(), dict(windows_python.variables())
    broker = Terminal(tmp_path, python=python, variables=variables)
    with broker as terminal, Gateway(terminal) as gateway:
        harness = Harness(terminal, gateway, seed=3, hurts=KINDS)
        harness.live_through(EVENTS)
    assert harness.faults == []
    assert set(harness.count) == {kind.name for kind in KINDS}
