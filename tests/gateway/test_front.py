"""The front answers everybody while the terminal is busy, truthfully, orders before queries."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from tests.gateway.busy_gateway import SYMBOL, BusyGateway
from tests.support.servers import until
from trueup.gateway.access.door import Client
from trueup.gateway.server import front
from trueup.gateway.server.front import DeskEnded
from trueup.gateway.server.refused_ids import RefusedIds
from trueup.gateway.server.sockets import Server

PATIENCE_SEC = 1.0


def test_a_question_is_answered_from_the_terminal() -> None:
    with BusyGateway() as gateway:
        assert gateway.client().ask("GET_POSITIONS")["status"] == "SUCCESS"


def test_greetings_are_answered_while_the_terminal_is_busy() -> None:
    with BusyGateway() as gateway:
        gateway.trader_blocked_in("order_send")
        assert gateway.client().ask("PING") == {"status": "SUCCESS"}
        assert gateway.client().ask("HELLO")["server"] == "trueup"


@pytest.mark.parametrize("action", ["GET_POSITIONS", "SNAPSHOT", "TICK"])
def test_a_query_that_waits_too_long_is_told_what_the_terminal_is_busy_with(action: str) -> None:
    with BusyGateway() as gateway:
        trader, other = gateway.trader_blocked_in("order_send"), gateway.client()
        gateway.clock.advance(2.5)
        other.send(action, symbol="EURUSD", session="s", id=1)
        until(lambda: gateway.front.waits_for_terminal)
        gateway.clock.advance(PATIENCE_SEC + 0.01)
        reply = other.receive()
        assert reply["status"] == "FAILED"
        assert reply["error"] == "the terminal has been busy for 3.5 s in order_send"
        gateway.terminal.let_go()
        assert trader.receive()["status"] == "FILLED"


def test_an_order_that_was_not_begun_is_rejected_and_never_sent() -> None:
    with BusyGateway() as gateway:
        first, second = gateway.trader_blocked_in("order_send"), gateway.client()
        second.send_order("second")
        until(lambda: gateway.front.waits_for_terminal)
        gateway.clock.advance(PATIENCE_SEC + 0.01)
        reply = second.receive()
        assert (reply["order_id"], reply["status"]) == ("second", "REJECTED")
        assert reply["error"] == "not sent: the terminal has been busy for 1.0 s in order_send"
        gateway.terminal.let_go()
        assert first.receive()["status"] == "FILLED"
        assert second.ask("GET_POSITIONS")["status"] == "SUCCESS"
        assert gateway.terminal.order_comments == ["first"]


def test_an_order_that_lay_there_while_the_machine_slept_is_rejected_and_never_sent() -> None:
    with BusyGateway() as gateway:
        first, second = gateway.trader_blocked_in("order_send"), gateway.client()
        second.send_order("second")
        until(lambda: gateway.front.waits_for_terminal)
        gateway.clock.suspend(3600)
        assert second.receive()["status"] == "REJECTED"
        gateway.terminal.let_go()
        assert first.receive()["status"] == "FILLED"
        assert gateway.terminal.order_comments == ["first"]


def test_a_wall_clock_that_is_set_back_makes_nobody_wait_longer() -> None:
    with BusyGateway() as gateway:
        gateway.trader_blocked_in("order_send")
        other = gateway.client()
        other.send("GET_POSITIONS")
        until(lambda: gateway.front.waits_for_terminal)
        gateway.clock.set_date(-7200)
        gateway.clock.advance(PATIENCE_SEC + 0.01)
        assert "has been busy for 1.0 s" in other.receive()["error"]


def test_a_copy_of_an_order_that_was_turned_away_is_not_carried_out_later() -> None:
    with BusyGateway() as gateway:
        first, second = gateway.trader_blocked_in("order_send"), gateway.client()
        second.send_order("second")
        until(lambda: gateway.front.waits_for_terminal)
        gateway.clock.advance(PATIENCE_SEC + 0.01)
        assert second.receive()["status"] == "REJECTED"
        gateway.terminal.let_go()
        assert first.receive()["status"] == "FILLED"
        # The same message, held up on the way; whoever sent it was told that it is not sent.
        for asker in (second, gateway.client()):
            asker.send_order("second")
            copy = asker.receive()
            assert (copy["order_id"], copy["status"]) == ("second", "REJECTED")
            assert copy["error"] == f"not sent: {front.REFUSED_BEFORE}"
        assert second.ask("REQUEST_STATUS", order_id="second")["request"]["state"] == "never seen"
        second.send_order("third")
        assert second.receive()["status"] == "FILLED"
        assert gateway.terminal.order_comments == ["first", "third"]


def test_ids_that_were_turned_away_are_kept_in_bounds_and_apart() -> None:
    kept = RefusedIds(ids_per_user=2, users=2)
    for order_id in ("a", "b", "a", "c"):
        kept.note("one", order_id)
    assert [name for name in "abc" if kept.has("one", name)] == ["a", "c"]
    # Nobody takes an id from another, or makes another's be forgotten by asking much.
    for number in range(10):
        kept.note("two", f"{number}")
    assert not kept.has("two", "a")
    assert kept.has("one", "a")
    kept.note("three", "a")
    assert not kept.has("one", "a")


def test_what_became_of_an_order_is_told_while_the_terminal_is_busy_with_it() -> None:
    with BusyGateway() as gateway:
        trader, other = gateway.client(), gateway.client()
        assert other.ask("REQUEST_STATUS", order_id="first")["request"]["state"] == "never seen"
        gateway.terminal.block_in("order_send")
        trader.send_order("first")
        assert gateway.terminal.is_blocked.wait(60)
        assert other.ask("REQUEST_STATUS", order_id="first")["request"]["state"] == "prepared"
        gateway.terminal.let_go()
        assert trader.receive()["status"] == "FILLED"
        assert other.ask("REQUEST_STATUS", order_id="first")["request"]["status"] == "FILLED"


def test_an_order_that_comes_again_while_it_is_carried_out_is_never_called_rejected() -> None:
    with BusyGateway() as gateway:
        trader, impatient = gateway.trader_blocked_in("order_send"), gateway.client()
        impatient.send_order("first")
        until(lambda: gateway.front.waits_for_terminal)
        gateway.clock.advance(PATIENCE_SEC + 0.01)
        reply = impatient.receive()
        assert (reply["order_id"], reply["status"]) == ("first", "UNKNOWN")
        gateway.terminal.let_go()
        first = trader.receive()
        impatient.send_order("first")
        assert impatient.receive() == {**first, "repeated": True}
        assert gateway.terminal.order_comments == ["first"]


def test_an_order_that_comes_again_before_the_first_is_recorded_is_never_called_rejected() -> None:
    """The first may be sent yet: what it waits for, the one or the other, says nothing of it."""
    with BusyGateway() as gateway:
        trader, impatient = gateway.trader_blocked_in("symbol_info"), gateway.client()
        impatient.send_order("first")
        until(lambda: gateway.front.waits_for_terminal)
        gateway.clock.advance(PATIENCE_SEC + 0.01)
        reply = impatient.receive()
        assert (reply["order_id"], reply["status"]) == ("first", "UNKNOWN")
        gateway.terminal.let_go()
        assert trader.receive()["status"] == "FILLED"
        assert gateway.terminal.order_comments == ["first"]


class Replies:
    """A server that keeps what it is to send."""

    def __init__(self) -> None:
        self.sent: list[tuple[Client, Any]] = []

    def reply(self, client: Client, raw: bytes) -> None:
        self.sent.append((client, json.loads(raw)))


@pytest.mark.parametrize(("copies", "first"), [(1, "REJECTED"), (2, "UNKNOWN")])
def test_an_order_that_the_desk_finds_too_late_is_rejected_unless_a_copy_of_it_waits(
    copies: int, first: str
) -> None:
    """The thread of the front had no time to take it back, as on a busy machine."""
    gateway, server = BusyGateway(), Replies()
    order = {"action": "BUY", "order_id": "late", "symbol": SYMBOL, "volume": 0.01}
    clients = [Client((bytes([number]),)) for number in range(copies)]
    for client in clients:
        assert gateway.front.handle(client, json.dumps(order).encode()) is None
    gateway.clock.advance(PATIENCE_SEC + 0.01)
    for _ in clients:
        gateway.front._work_once(cast(Server, server))
    gateway.close()
    assert [client for client, _ in server.sent] == clients
    assert [reply["status"] for _, reply in server.sent] == [first, "REJECTED"][-copies:]
    assert gateway.terminal.order_comments == []


def test_an_order_that_was_begun_is_answered_by_its_outcome_however_late() -> None:
    with BusyGateway() as gateway:
        trader = gateway.trader_blocked_in("order_send")
        gateway.clock.advance(60)
        assert gateway.client().ask("PING") == {"status": "SUCCESS"}
        assert not trader.is_answered()
        gateway.terminal.let_go()
        assert trader.receive()["status"] == "FILLED"


def test_orders_that_wait_when_the_gateway_ends_are_told_that_they_were_not_sent() -> None:
    with BusyGateway() as gateway:
        first, second = gateway.trader_blocked_in("order_send"), gateway.client()
        second.send_order("second")
        until(lambda: gateway.front.waits_for_terminal)
        gateway.front.stop()
        gateway.terminal.let_go()
        gateway.wait_for_end()
        gateway.server.serve_once(1_000)
        assert first.receive()["status"] == "FILLED"
        reply = second.receive()
        assert (reply["status"], reply["error"]) == ("REJECTED", "not sent: the gateway ends")
        assert gateway.terminal.order_comments == ["first"]


def test_while_the_gateway_ends_everybody_is_told_so_and_the_call_under_way_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On a busy machine three answers may take longer than a gateway waits for its desk.
    monkeypatch.setattr(front, "DESK_ENDS_SEC", 60)
    with BusyGateway() as gateway:
        trader = gateway.trader_blocked_in("order_send")
        gateway.front.stop()
        asker = gateway.client()
        assert asker.ask("GET_POSITIONS")["error"] == "the gateway ends"
        reply = asker.ask("BUY", order_id="second", symbol=SYMBOL, volume=0.01)
        assert (reply["status"], reply["error"]) == ("REJECTED", "not sent: the gateway ends")
        assert asker.ask("PING") == {"status": "SUCCESS"}
        assert not trader.is_answered()
        gateway.terminal.let_go()
        assert trader.receive()["status"] == "FILLED"
        gateway.wait_for_end()
        assert gateway.terminal.order_comments == ["first"]


def test_a_query_that_hangs_in_the_terminal_is_answered_once() -> None:
    with BusyGateway() as gateway:
        asker = gateway.client()
        gateway.terminal.block_in("positions_get")
        asker.send("GET_POSITIONS")
        assert gateway.terminal.is_blocked.wait(60)
        gateway.clock.advance(PATIENCE_SEC + 0.01)
        error = asker.receive()["error"]
        assert error == "the terminal has been busy for 1.0 s in positions_get"
        gateway.terminal.let_go()
        # The late answer of the terminal is not taken for the answer to this one.
        assert "bid" in asker.ask("TICK", symbol="EURUSD")


def test_a_desk_that_breaks_ends_the_front_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """A gateway that serves nobody any more must not look like one that does."""

    def breaks() -> None:
        raise RuntimeError("a bug")

    gateway = BusyGateway()
    gateway.program.positions_get = breaks  # type: ignore[method-assign,assignment]
    asker = gateway.client()
    asker.send("GET_POSITIONS")
    with pytest.raises(DeskEnded):
        gateway.front.run(gateway.server)
    gateway.close()
    assert "RuntimeError: a bug" in caplog.text
