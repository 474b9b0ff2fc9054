"""What an order asks of the worker: the account with the symbol and its price, then the order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support import worker_terminals
from tests.support.exchanges import exchanges
from trueup.gateway.desk.desk import Desk
from trueup.gateway.record.store import RequestStore
from trueup.gateway.terminal.account_look import PRICE_OLDEST_NS
from trueup.gateway.worker.worker import WorkerTerminal
from trueup.protocol.requests import Request
from trueup.runtime.time.clock import ManualClock
from trueup.sim.terminal.terminal import SimulatedTerminal

ORDER = {"action": "BUY", "order_id": "1", "symbol": "EURUSD", "volume": 0.01}


def message(**fields: Any) -> bytes:
    return json.dumps({**ORDER, **fields}).encode()


@contextmanager
def worker(name: str = "quoted") -> Iterator[WorkerTerminal]:
    """Run a terminal of `worker_terminals` in a worker."""
    with WorkerTerminal(f"{worker_terminals.HERE}:{name}") as terminal:
        assert terminal.initialize()
        yield terminal


class SlowRecord(RequestStore):
    """A record of requests that needs a time to look for an order's id."""

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        super().__init__(None, "boot", clock.now_ns)
        self._clock, self._seconds = clock, seconds

    def find(self, order_id: str) -> Any:
        self._clock.advance(self._seconds)
        return super().find(order_id)


@pytest.mark.parametrize(
    "more", [{}, {"type": "limit", "price": 1.0}], ids=["at the market", "pending"]
)
def test_an_order_reads_the_price_with_the_account(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    with worker() as terminal:
        desk = Desk(terminal, "boot", ManualClock().now_ns)
        seen = exchanges(monkeypatch)
        assert json.loads(desk.handle(message(**more)))["status"] in ("FILLED", "PLACED")
        # A pending order also notes which orders there are already, right before it is sent.
        assert len(seen) == 2 + len(more) // 2


def test_an_order_that_its_checks_refuse_is_one_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    with worker() as terminal:
        desk = Desk(terminal, "boot", ManualClock().now_ns)
        seen = exchanges(monkeypatch)
        assert b"it is for account 7" in desk.handle(message(login=7))
        assert len(seen) == 1


@pytest.mark.parametrize(("late_ns", "count"), [(0, 2), (1, 3)], ids=["at the limit", "later"])
def test_a_price_that_waited_for_the_checks_is_read_again(
    monkeypatch: pytest.MonkeyPatch, late_ns: int, count: int
) -> None:
    clock = ManualClock()
    record = SlowRecord(clock, (PRICE_OLDEST_NS + late_ns) / 1e9)
    with worker() as terminal:
        desk = Desk(terminal, "boot", clock.now_ns, store=record)
        seen = exchanges(monkeypatch)
        assert b'"FILLED"' in desk.handle(message())
        assert len(seen) == count


def test_a_price_is_used_for_one_order_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with worker() as terminal:
        desk = Desk(terminal, "boot", ManualClock().now_ns)
        request = desk.read(message())
        assert isinstance(request, Request)
        look = desk.look(request)
        look.account()
        seen = exchanges(monkeypatch)
        assert len(list(look.symbol_and_price("EURUSD"))) == 2
        assert not seen
        assert len(list(look.symbol_and_price("EURUSD"))) == 2
        assert len(seen) == 1


def test_a_price_of_another_symbol_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with worker() as terminal:
        desk = Desk(terminal, "boot", ManualClock().now_ns)
        request = desk.read(message())
        assert isinstance(request, Request)
        look = desk.look(request)
        look.account()
        (spec, _), _ = look.symbol_and_price("GBPUSD")
        assert spec.name == "GBPUSD"


def test_a_symbol_that_the_module_cannot_take_is_refused_and_ends_nothing() -> None:
    """The account is read without the symbol then, so that the sender's rights can be checked."""
    with worker("without_names") as terminal:
        desk = Desk(terminal, "boot", ManualClock().now_ns)
        request = desk.read(message())
        assert isinstance(request, Request)
        look = desk.look(request)
        assert look.login() is not None
        assert b"the terminal failed: no such name" in desk.answer(request, look)


def test_an_account_that_cannot_be_read_is_named_though_the_symbol_can_be() -> None:
    with worker("without_an_account") as terminal:
        desk = Desk(terminal, "boot", ManualClock().now_ns)
        said = desk.handle(message())
        assert b"not sent: account_info failed: (-10004" in said


def test_a_terminal_of_this_process_is_asked_for_the_price_after_the_checks() -> None:
    """A call of its own costs no exchange there, and the price is newer."""
    clock = ManualClock()
    terminal = SimulatedTerminal(now_msc=lambda: clock.now_ns() // 1_000_000)
    assert terminal.initialize()
    terminal.quote("EURUSD", 1.1, 1.1001)
    desk = Desk(terminal, "boot", clock.now_ns)
    request = desk.read(message())
    assert isinstance(request, Request)
    look = desk.look(request)
    look.account()
    terminal.quote("EURUSD", 1.2, 1.2001)
    _, (tick, _) = look.symbol_and_price("EURUSD")
    assert tick.bid == 1.2
