"""The contract of `terminal_contract`, held by the simulated terminal and by a real one."""

from __future__ import annotations

import dataclasses
import importlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.gateway.terminal_contract import TerminalContract
from tests.support import worker_terminals
from tests.support.worker_terminals import SteppingClock
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.mt5 import FACTORY
from trueup.gateway.terminal.terminal import Terminal
from trueup.gateway.worker.worker import WorkerTerminal
from trueup.sim.market.switches import Switches
from trueup.sim.market.symbols import DEFAULT_SYMBOLS, AccountSetup
from trueup.sim.process.module_port import AttachedTerminal, ModulePort
from trueup.sim.terminal.terminal import SimulatedTerminal

if TYPE_CHECKING:
    from trueup.gateway.terminal.terminal import Row

FACTS = json.loads((Path(__file__).parents[1] / "data" / "mt5_api.json").read_text("utf-8"))


def started(**switches: int) -> SimulatedTerminal:
    terminal = SimulatedTerminal(now_msc=SteppingClock(), switches=Switches(**switches))  # type: ignore[arg-type]
    assert terminal.initialize()
    return terminal


class TestHedging(TerminalContract):
    @pytest.fixture
    def terminal(self) -> Terminal:
        return started()


class TestNetting(TerminalContract):
    @pytest.fixture
    def terminal(self) -> Terminal:
        account = AccountSetup(margin_mode=mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING)
        made = SimulatedTerminal(account=account, now_msc=SteppingClock())
        assert made.initialize()
        return made


class TestLagging(TerminalContract):
    """Lists, deals and orders appear later than the answer."""

    @pytest.fixture
    def terminal(self) -> Terminal:
        return started(position_lag_ms=50, deal_lag_ms=80, order_lag_ms=20, order_history_lag_ms=60)


class TestInstantExecution(TerminalContract):
    @pytest.fixture
    def terminal(self) -> Terminal:
        symbols = tuple(
            dataclasses.replace(symbol, execution=mt5.SYMBOL_TRADE_EXECUTION_INSTANT)
            for symbol in DEFAULT_SYMBOLS
        )
        made = SimulatedTerminal(symbols=symbols, now_msc=SteppingClock())
        assert made.initialize()
        return made


class TestOtherSymbol(TestHedging):
    @pytest.fixture
    def symbol(self) -> str:
        return "USDJPY"


class TestInAnotherProgram(TerminalContract):
    """Reached through a pipe, as the official module reaches the terminal program."""

    @pytest.fixture
    def terminal(self) -> Iterator[Terminal]:
        port = ModulePort(started(), threading.Lock())
        attached = AttachedTerminal(lambda: port.address)
        assert attached.initialize()
        yield attached
        attached.shutdown()
        port.close()


class TestInAWorker(TerminalContract):
    """In a process of its own, and every call through a pipe: no difference to be seen."""

    @pytest.fixture(scope="class")
    @classmethod
    def worker(cls) -> Iterator[WorkerTerminal]:
        with WorkerTerminal(f"{worker_terminals.HERE}:simulated") as terminal:
            yield terminal

    @pytest.fixture
    def terminal(self, worker: WorkerTerminal) -> Terminal:
        assert worker.initialize()
        return worker


@pytest.mark.mt5
class TestRealTerminal(TerminalContract):
    """The official module, logged in to the demo account of this machine."""

    @pytest.fixture
    def terminal(self) -> Iterator[Terminal]:
        module = importlib.import_module("MetaTrader5")
        assert module.initialize()
        yield module
        module.shutdown()

    def wait_a_moment(self) -> None:
        time.sleep(0.05)


@pytest.mark.mt5
class TestRealTerminalInAWorker(TestInAWorker):
    """What `trueup gateway` serves."""

    @pytest.fixture(scope="class")
    @classmethod
    def worker(cls) -> Iterator[WorkerTerminal]:
        with WorkerTerminal(FACTORY) as terminal:
            yield terminal

    def wait_a_moment(self) -> None:
        time.sleep(0.05)


# -- what only a stand-in for the module has to show -------------------------------------------


def test_it_has_every_constant_of_the_module() -> None:
    terminal = started()
    for name, value in FACTS["constants"].items():
        assert getattr(terminal, name) == value


def test_it_has_every_function_of_the_module() -> None:
    assert set(FACTS["functions"]) == {name for name in vars(Terminal) if not name.startswith("_")}
    terminal = started()
    assert all(callable(getattr(terminal, name)) for name in FACTS["functions"])


def test_every_row_has_the_official_fields_and_types() -> None:
    terminal = started()
    terminal.person.open("EURUSD", mt5.ORDER_TYPE_BUY, 0.1)
    terminal.person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.05)
    result = terminal.order_send(action=1, symbol="EURUSD", volume=0.1, type_filling=1)
    checked = terminal.order_check(action=1, symbol="EURUSD", volume=0.1, type_filling=1)
    assert result is not None
    rows: dict[str, Row | None] = {
        "TradePosition": (terminal.positions_get() or (None,))[0],
        "TradeOrder": (terminal.orders_get() or (None,))[0],
        "TradeDeal": (terminal.history_deals_get(1, 2_000_000_000) or (None,))[0],
        "OrderSendResult": result,
        "OrderCheckResult": checked,
        "TradeRequest": result.request,
        "AccountInfo": terminal.account_info(),
        "TerminalInfo": terminal.terminal_info(),
        "SymbolInfo": terminal.symbol_info("EURUSD"),
        "Tick": terminal.symbol_info_tick("EURUSD"),
    }
    python = {"int": int, "float": float, "str": str, "bool": bool}
    for name, row in rows.items():
        assert row is not None
        fields = row._asdict()
        assert list(fields) == FACTS["namedtuples"][name]
        for field, official in FACTS["namedtuple_field_types"][name].items():
            expected = python.get(official.partition(" ")[0], tuple)
            assert isinstance(fields[field], expected), (name, field)
            # A bool would pass for an int, an int for a float would not.
            assert type(fields[field]) in (expected, type(result.request)), (name, field)
