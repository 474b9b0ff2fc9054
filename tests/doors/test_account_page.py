"""docs/concepts/account.md: its examples are executed, one after the other."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest

import trueup
from tests.support.account_world import AccountWorld
from trueup.doors.account import Account
from trueup.testing import SimulatedGateway

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/concepts/account.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    world = AccountWorld(tmp_path)

    served = SimulatedGateway(world.terminal, world.clock)
    gateway = served.client()
    # As the page has it, but by the clock of the simulated broker.
    timed = functools.partialmethod(Account.__init__, clock=world.clock)
    monkeypatch.setattr(Account, "__init__", timed)
    assert trueup.Account is Account
    names: dict[str, Any] = {"gateway": gateway, "clock": world.clock}
    assert len(BLOCKS) == 5
    for number, block in enumerate(BLOCKS, start=1):
        exec(compile(block, f"{PAGE.name}, example {number}", "exec"), names)
    assert world.open_lots == pytest.approx(0.4)
    served.stop()
