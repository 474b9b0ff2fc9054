"""The same limits over a socket, on the guide's wire, behind the official module, after kills."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.crash_world import environment
from trueup import Limits, PortfolioManager, StateReconciler
from trueup.core.book import events
from trueup.core.book.lifecycle import OrderStatus
from trueup.errors import Refused
from trueup.journal import open_reader
from trueup.testing import (
    ManualClock,
    SimulatedGateway,
    simulated_account,  # noqa: F401
    simulated_clock,  # noqa: F401
    simulated_gateway,  # noqa: F401
    simulated_terminal,  # noqa: F401
)


def test_over_a_socket(
    simulated_gateway: SimulatedGateway,  # noqa: F811
    simulated_clock: ManualClock,  # noqa: F811
    tmp_path: Path,
) -> None:
    limits = Limits(daily_loss=50, spread=20, lots=1.0)
    with (
        simulated_gateway.client() as gateway,
        PortfolioManager(
            "EURUSD", journal=tmp_path / "bot.db", clock=simulated_clock, limits=limits
        ) as pm,
    ):
        reconciler = StateReconciler(pm, gateway)
        reconciler.sync_positions()
        with simulated_gateway.terminal() as terminal:
            terminal.quote("EURUSD", 1.1, 1.1001)
        reconciler.sync_positions()
        assert pm.submit("buy", 0.2).status is OrderStatus.FILLED
        with simulated_gateway.terminal() as terminal:
            terminal.quote("EURUSD", 1.09, 1.0901)
        # No sync since: the desk reads the account before the entry.
        with pytest.raises(Refused, match="the account's equity fell by 2"):
            pm.submit("buy", 0.1)
        assert not pm.check_risk(1)
        assert pm.create_order(1, 1.0901) is None
        # The gateway goes away, and the lock stays.
        simulated_gateway.stop()
        with pytest.raises(Refused, match="the account's equity fell by 2"):
            pm.submit("buy", 0.1)


def test_figures_that_cannot_be_read_refuse_entries_by_name(
    simulated_gateway: SimulatedGateway,  # noqa: F811
    simulated_clock: ManualClock,  # noqa: F811
) -> None:
    pm = PortfolioManager("EURUSD", clock=simulated_clock, limits=Limits(drawdown=50))
    reconciler = StateReconciler(pm, simulated_gateway.client(300))
    reconciler.sync_positions()
    assert pm.entries_refused() == ""
    simulated_gateway.stop()
    with pytest.raises(Refused, match="the account's figures cannot be read for a limit on money"):
        pm.submit("buy", 0.1)


class GuideGateway:
    """A gateway of the guide: positions and orders, and no figures."""

    def get_positions(self) -> dict[str, object]:
        return {"status": "SUCCESS", "positions": []}

    def send_order(self, order: dict[str, object]) -> dict[str, object]:
        return {
            "order_id": order["order_id"],
            "status": "FILLED",
            "ticket": 5,
            "filled_price": 1.1,
            "filled_volume": order["volume"],
        }


def test_on_the_guides_wire_lots_are_counted_and_money_is_refused_by_name() -> None:
    pm = PortfolioManager("EURUSD", limits=Limits(lots=0.2))
    StateReconciler(pm, GuideGateway()).sync_positions()
    assert pm.submit("buy", 0.2).status is OrderStatus.FILLED
    with pytest.raises(Refused, match=r"0\.20 lots are open"):
        pm.submit("buy", 0.1)
    # The guide's own way: an order that is created and not sent yet counts, too.
    pm = PortfolioManager("EURUSD", limits=Limits(lots=0.2))
    StateReconciler(pm, GuideGateway()).sync_positions()
    assert pm.create_order(1, 1.1, 0.15) is not None
    assert pm.create_order(1, 1.1, 0.1) is None
    pm = PortfolioManager("EURUSD", limits=Limits(daily_loss=50))
    StateReconciler(pm, GuideGateway()).sync_positions()
    with pytest.raises(Refused, match="the gateway serves no account figures"):
        pm.submit("buy", 0.1)
    assert "sends no balance" in pm.restrictions[0].reason or "figures" in pm.restrictions[0].reason


PROGRAM = textwrap.dedent(
    """
    import trueup.mt5 as mt5

    assert mt5.initialize(journal="bot.db", magic=7, simulated=True), mt5.last_error()
    print("ready", flush=True)
    for _ in range(60):
        tick = mt5.symbol_info_tick("EURUSD")
        done = mt5.order_send({
            "action": mt5.TRADE_ACTION_DEAL, "symbol": "EURUSD", "volume": 1.0,
            "type": mt5.ORDER_TYPE_BUY, "price": tick.ask, "magic": 7,
            "type_filling": mt5.ORDER_FILLING_IOC,
        })
        print(done.retcode, done.comment, flush=True)
    """
)


def told(folder: Path, until: str, most: int = 60) -> list[str]:
    """Run the program, kill it at the first line with a word, and return its lines."""
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        env=environment(folder / ".trueup"),
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    lines: list[str] = []
    assert program.stdout is not None
    for line in program.stdout:
        lines.append(line.rstrip())
        if until in line or len(lines) > most:
            break
    program.kill()
    program.wait()
    program.stdout.close()
    return lines


def test_a_killed_program_forgets_no_lock_and_adds_none(tmp_path: Path) -> None:
    """The spread alone costs more than the loss of a day that is allowed."""
    (tmp_path / "trueup.toml").write_text("[limits]\ndaily_loss = 0.5\n", encoding="utf-8")
    try:
        first = told(tmp_path, "refused by a risk limit: the account's equity")
        assert first[1] == "10009 Request executed"
        assert "the account's equity fell by" in first[-1]
        for most in (0, 3):
            again = told(tmp_path, "equity", most)
            assert not [line for line in again if line.startswith("10009")]
        with open_reader(tmp_path / "bot.db") as reader:
            history = list(reader.read())
    finally:
        subprocess.run(
            [sys.executable, "-m", "trueup", "terminal", "--stop"],
            cwd=tmp_path,
            env=environment(tmp_path / ".trueup"),
            check=True,
            capture_output=True,
        )
    assert sum(isinstance(event, events.LimitReached) for event in history) == 1
    assert not [event for event in history if isinstance(event, events.LimitEnded)]
    filled = [event for event in history if isinstance(event, events.OrderFilled)]
    assert len(filled) == sum(line.startswith("10009") for line in first)
