"""docs/operating/run.md: its strategy, its settings and its program are executed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import trueup
from tests.support.account_world import AccountWorld
from trueup.doors.running.opening import policy_of
from trueup.protocol.ticks import Tick
from trueup.settings import load_settings
from trueup.testing import SimulatedGateway

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/operating/run.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python[^\n]*\n(.*?)```", PAGE, re.DOTALL)
SETTINGS = re.findall(r"```toml[^\n]*\n(.*?)```", PAGE, re.DOTALL)[0]


def test_the_strategy_of_the_page_trades_in_the_program_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    world = AccountWorld(tmp_path)
    served = SimulatedGateway(world.terminal, world.clock)
    real_account, real_run = trueup.Account, trueup.run
    client = served.client()
    names: dict[str, Any] = {}

    class AtTheTerminal:
        """`ExecutionGateway` of the page, at the simulated terminal."""

        def __new__(cls, *_: object) -> Any:
            return client

    def account(gateway: Any, **options: Any) -> Any:
        return real_account(gateway, clock=world.clock, **options)

    def run(account: Any, strategy: Any) -> None:
        for number in range(102):
            strategy.prices.append(1.1 + number * 1e-6)
        real_run(account, strategy, duration_sec=1)

    monkeypatch.setattr(trueup, "ExecutionGateway", AtTheTerminal)
    monkeypatch.setattr(trueup, "Account", account)
    monkeypatch.setattr(trueup, "run", run)
    for number, block in enumerate(BLOCKS, start=1):
        exec(compile(block, f"run.md, example {number}", "exec"), names)
    served.stop()
    (row,) = world.terminal.view.position_rows()
    assert (row.magic, bool(row.sl), bool(row.tp)) == (7, True, True)
    assert names["Watching"]().on_tick(Tick("EURUSD", 1.1, 1.1)) is None


def test_the_settings_of_the_page_are_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trueup.toml").write_text(SETTINGS, encoding="utf-8")
    settings = load_settings()
    assert settings.trueup_strategy == tomllib.loads(SETTINGS)["trueup_strategy"]
    assert policy_of(settings).magics == {7}


def test_every_method_of_a_strategy_is_on_the_page() -> None:
    from trueup.runtime.trading.strategy import METHODS

    for method in ("on_start", *METHODS):
        assert f"| `{method}(" in PAGE
