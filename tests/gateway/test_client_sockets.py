"""The client against real sockets on loopback: gateways that are away, slow, mute or mad.

Times are asserted only as far bounds; what must not happen is proved by what must happen after it.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from tests.support import make
from tests.support.servers import (
    RepServer,
    TcpServer,
    ZmqServer,
    free_port,
    request_kind,
    until,
)
from trueup.core.account.trust import Unknown
from trueup.core.model import Snapshot
from trueup.errors import NotSent
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.client.zmq_link import ZmqLink
from trueup.gateway.desk.desk import Desk
from trueup.gateway.server.sockets import Server, anybody
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler, SyncStatus

# Too short for a gateway that is not there, and long enough for a message to reach one that is.
SHORT_MS = 150
# Every silence is waited for, and only after a handshake.
MUTE_MS = 1_500
LONG_MS = 60_000
# Far above what anything here takes, far below what waiting twice for LONG_MS would.
BOUND_SEC = 50.0

ORDER: dict[str, Any] = {
    "order_id": "A",
    "symbol": "EURUSD",
    "action": "BUY",
    "volume": 0.01,
    "price": 1.0543,
    "confidence": 0.9,
}


def listing(ticket: int = make.TICKET) -> bytes:
    return make.as_bytes(make.reply(make.row(ticket)))


def fill(message: bytes, ticket: int = 7) -> bytes:
    return make.as_bytes(
        {
            "order_id": json.loads(message)["order_id"],
            "status": "FILLED",
            "ticket": ticket,
            "filled_price": 1.0544,
            "filled_volume": 0.01,
            "error": None,
        }
    )


def good(message: bytes) -> bytes:
    """A gateway in good health."""
    return listing() if request_kind(message) == "GET_POSITIONS" else fill(message)


def mute(message: bytes) -> None:
    """A gateway that takes everything and answers nothing."""


def gateway_on(port: int, timeout_ms: int = LONG_MS) -> ExecutionGateway:
    return ExecutionGateway("127.0.0.1", port, timeout_ms)


def tickets(reading: object) -> list[int]:
    assert isinstance(reading, Snapshot), reading
    return [position.ticket for position in reading.positions]


def order_ids(server: ZmqServer) -> list[str]:
    messages = [json.loads(message) for message in server.seen]
    return [message["order_id"] for message in messages if "order_id" in message]


@pytest.fixture
def bounded() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < BOUND_SEC


# A gateway in good health.


def test_a_question_and_its_answer() -> None:
    with ZmqServer(good) as server, gateway_on(server.port) as gateway:
        assert gateway.connect()
        assert gateway.get_positions() == make.reply(make.row())
        assert tickets(gateway.read()) == [make.TICKET]
        assert json.loads(server.seen[0]) == {"action": "GET_POSITIONS", "symbol": "*"}


def test_an_order_and_its_answer() -> None:
    with ZmqServer(good) as server, gateway_on(server.port) as gateway:
        assert gateway.send_order(ORDER) == {
            "order_id": "A",
            "status": "FILLED",
            "ticket": 7,
            "filled_price": 1.0544,
            "filled_volume": 0.01,
            "error": None,
        }
        assert [json.loads(message) for message in server.seen] == [ORDER]


def test_a_refusal_is_a_rejection_with_its_reason() -> None:
    refusal = make.as_bytes({"order_id": "A", "status": "REJECTED", "error": "no money"})
    with ZmqServer(lambda _: refusal) as server, gateway_on(server.port) as gateway:
        outcome = gateway.send_order(ORDER)
        assert (outcome["status"], outcome["error"]) == ("REJECTED", "no money")


def test_an_answer_of_many_positions_comes_whole() -> None:
    raw = make.as_bytes(make.reply(*map(make.row, range(1, 20_001))))
    with ZmqServer(lambda _: raw) as server, gateway_on(server.port) as gateway:
        assert tickets(gateway.read()) == list(range(1, 20_001))


def test_questions_and_orders_do_not_disturb_each_other() -> None:
    """A question is under way all the while, and an order is asked and answered beside it."""

    def only_orders(message: bytes) -> bytes | None:
        return None if request_kind(message) == "GET_POSITIONS" else fill(message)

    with ZmqServer(only_orders) as server, gateway_on(server.port) as gateway:
        gateway.ask()
        until(lambda: gateway.poll() is None and server.count("GET_POSITIONS") == 1)
        assert gateway.send_order(ORDER)["status"] == "FILLED"
        assert gateway.poll() is None
        server.answer(0, listing(55))
        assert tickets(until(gateway.poll)) == [55]


def test_giving_up_a_question_does_not_touch_an_order() -> None:
    with ZmqServer(mute) as server, gateway_on(server.port) as gateway:
        gateway.ask()
        until(lambda: gateway.poll() is None and server.count("GET_POSITIONS") == 1)
        outcome: dict[str, Any] = {}
        sender = threading.Thread(target=lambda: outcome.update(gateway.send_order(ORDER)))
        sender.start()
        server.wait_for(2)
        gateway.give_up()  # only the question's connection; the order's thread has its own
        server.answer(1, fill(server.seen[1]))
        sender.join(BOUND_SEC)
        assert outcome["status"] == "FILLED"


# No gateway.


@pytest.mark.usefixtures("bounded")
def test_when_nobody_listens_a_reading_is_offline_in_time() -> None:
    with gateway_on(free_port(), SHORT_MS) as gateway:
        reading = gateway.read()
        assert isinstance(reading, Unknown)
        assert reading.sentence.startswith("Gateway offline")
        assert not gateway.connect()
        said = gateway.get_positions()
        assert (said["status"], said["positions"]) == ("FAILED", [])
        assert said["error"]


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 4096])
def test_when_the_port_speaks_something_else_a_reading_is_offline_in_time(greeting: bytes) -> None:
    with TcpServer(greeting) as server, gateway_on(server.port, SHORT_MS) as gateway:
        assert isinstance(gateway.read(), Unknown)
        assert server.accepted.wait(BOUND_SEC)
        assert isinstance(gateway.read(), Unknown)


@pytest.mark.usefixtures("bounded")
def test_an_order_to_a_port_that_speaks_something_else_never_left() -> None:
    with TcpServer() as server, gateway_on(server.port, SHORT_MS) as gateway:
        outcome = gateway.send_order(ORDER)
        assert server.accepted.wait(BOUND_SEC)
        assert outcome["status"] == "REJECTED"
        assert outcome["error"].startswith("Not sent")
        assert b"EURUSD" not in server.heard


@pytest.mark.usefixtures("bounded")
def test_an_order_without_a_connection_is_not_sent_and_does_not_leave_later() -> None:
    """The server comes up, the same gateway reaches it, and only what came after arrives."""
    port = free_port()
    with gateway_on(port, SHORT_MS) as gateway:
        outcome = gateway.send_order(ORDER)
        assert outcome["status"] == "REJECTED"
        assert outcome["error"].startswith("Not sent")
        assert (outcome["order_id"], outcome["ticket"]) == ("A", None)
        with ZmqServer(good, port) as server:
            numbers = iter(range(1000))

            def later_order() -> bool:
                sent = gateway.send_order(ORDER | {"order_id": f"LATER_{next(numbers)}"})
                return bool(sent["status"] == "FILLED")

            until(later_order)
            assert isinstance(until(gateway.read), Snapshot)
            assert "A" not in order_ids(server)
            assert len(order_ids(server)) == 1


def test_a_link_that_gave_up_on_sending_never_sends_it() -> None:
    """One layer lower: the socket itself keeps nothing back."""
    port = free_port()
    link = ZmqLink(f"tcp://127.0.0.1:{port}")
    try:
        with pytest.raises(NotSent):
            link.send(b'{"action":"BUY","order_id":"A"}', 20)
        with ZmqServer(good, port) as server:
            link.send(b'{"action":"GET_POSITIONS"}', LONG_MS)
            assert link.receive(LONG_MS) == listing()
            assert server.seen == [b'{"action":"GET_POSITIONS"}']
    finally:
        link.close()


def test_an_order_that_cannot_be_written_is_not_sent() -> None:
    with ZmqServer(good) as server, gateway_on(server.port) as gateway:
        outcome = gateway.send_order(ORDER | {"volume": float("nan")})
        assert outcome["status"] == "REJECTED"
        assert outcome["error"].startswith("Not sent: volume=nan")
        assert gateway.send_order(ORDER)["status"] == "FILLED"
        assert len(server.seen) == 1


def test_an_order_that_no_number_can_hold_is_not_sent() -> None:
    with ZmqServer(good) as server, gateway_on(server.port) as gateway:
        assert gateway.send_order(ORDER | {"volume": 10**400})["status"] == "REJECTED"
        assert not server.seen


@pytest.mark.parametrize("host", ["127.0.0.1 5555", "", "tcp://127.0.0.1"])
def test_a_host_that_is_none_is_offline_and_no_exception(host: str) -> None:
    with ExecutionGateway(host, 5555, SHORT_MS) as gateway:
        assert isinstance(gateway.read(), Unknown)
        assert gateway.send_order(ORDER)["status"] == "REJECTED"


# Answers that do not come, or come late.


@pytest.mark.usefixtures("bounded")
def test_when_no_answer_comes_a_reading_is_offline_in_time_and_the_next_one_works() -> None:
    healthy = threading.Event()

    def handle(message: bytes) -> bytes | None:
        return good(message) if healthy.is_set() else None

    with ZmqServer(handle) as server, gateway_on(server.port, MUTE_MS) as gateway:
        for _ in range(3):
            reading = gateway.read()
            assert isinstance(reading, Unknown)
            assert "no reply" in reading.sentence
        assert server.count() == 3
        healthy.set()
        assert tickets(until(lambda: usable(gateway.read()))) == [make.TICKET]


def usable(reading: object) -> object:
    return reading if isinstance(reading, Snapshot) else None


def test_a_late_answer_is_never_taken_for_the_answer_to_the_next_question() -> None:
    """The gateway echoes no id, and the late answer arrives first."""
    with ZmqServer(mute) as server, gateway_on(server.port, MUTE_MS) as gateway:
        assert isinstance(gateway.read(), Unknown)
        server.wait_for(1)
        gateway.ask()
        until(lambda: gateway.poll() is None and server.count() == 2)
        server.answer(0, listing(111))
        server.answer(1, listing(222))
        assert tickets(until(gateway.poll)) == [222]


def test_a_late_answer_of_a_gateway_with_one_rep_socket_is_never_mistaken() -> None:
    """It works off one question after the other, long after the asker has given up."""
    numbers = iter(range(1, 100))
    server = RepServer(lambda _: listing(next(numbers)))
    with server, gateway_on(server.port, MUTE_MS) as gateway:
        assert isinstance(gateway.read(), Unknown)
        assert server.began.acquire(timeout=BOUND_SEC)
        server.permits.release(2)
        gateway.ask()
        assert tickets(until(gateway.poll)) == [2]
        server.permits.release()
        gateway.ask()
        assert tickets(until(gateway.poll)) == [3]


def test_a_late_answer_to_an_order_is_never_taken_for_the_next_orders() -> None:
    """Even from a gateway that names no order."""

    def nameless(ticket: int) -> bytes:
        return make.as_bytes(
            {"status": "FILLED", "ticket": ticket, "filled_price": 1.1, "filled_volume": 0.01}
        )

    with ZmqServer(mute) as server, gateway_on(server.port, MUTE_MS) as gateway:
        assert gateway.send_order(ORDER)["status"] == "UNKNOWN"
        server.wait_for(1)
        gateway.timeout_ms = LONG_MS
        outcomes: list[dict[str, Any]] = []
        second = ORDER | {"order_id": "B"}
        sender = threading.Thread(target=lambda: outcomes.append(gateway.send_order(second)))
        sender.start()
        server.wait_for(2)
        server.answer(0, nameless(111))
        server.answer(1, nameless(222))
        sender.join(BOUND_SEC)
        assert (outcomes[0]["order_id"], outcomes[0]["ticket"]) == ("B", 222)


def test_an_answer_that_comes_after_giving_up_is_never_polled() -> None:
    with ZmqServer(mute) as server, gateway_on(server.port) as gateway:
        gateway.ask()
        until(lambda: gateway.poll() is None and server.count() == 1)
        assert isinstance(gateway.give_up(), Unknown)
        gateway.ask()
        until(lambda: gateway.poll() is None and server.count() == 2)
        server.answer(0, listing(111))
        server.answer(1, listing(222))
        assert tickets(until(gateway.poll)) == [222]


@pytest.mark.usefixtures("bounded")
def test_an_order_that_times_out_is_unknown_and_was_sent_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ZmqServer(mute) as server, gateway_on(server.port, MUTE_MS) as gateway:
        with caplog.at_level(logging.ERROR):
            outcome = gateway.send_order(ORDER)
        assert outcome["status"] == "UNKNOWN"
        assert (outcome["order_id"], outcome["ticket"]) == ("A", None)
        assert outcome["error"]
        assert "Order A" in caplog.text
        # Whatever this gateway object still had to send would come before the answer to this.
        assert gateway.send_order(ORDER | {"order_id": "B"})["status"] == "UNKNOWN"
        server.wait_for(2)
        assert order_ids(server) == ["A", "B"]


@pytest.mark.parametrize(
    "answer",
    [
        {"order_id": "OTHER", "status": "FILLED", "ticket": 7, "filled_price": 1.1},
        {"order_id": "A", "status": "UNKNOWN", "error": "order_send broke"},
        {"order_id": "A", "status": "ERROR", "error": "who are you"},
        {"order_id": "A"},
        "FILLED",
        None,
    ],
)
def test_an_answer_that_does_not_settle_this_order_is_unknown(answer: object) -> None:
    with ZmqServer(lambda _: make.as_bytes(answer)) as server, gateway_on(server.port) as gateway:
        outcome = gateway.send_order(ORDER)
        assert (outcome["order_id"], outcome["status"]) == ("A", "UNKNOWN")
        assert len(server.seen) == 1


GARBAGE = [b"", b"\x00\xff", b"not JSON", b"null", b"[]", b"[" * 100_000, b'{"a":' * 100_000]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda raw: repr(raw[:8]))
def test_garbage_is_no_reading_and_no_outcome_and_the_next_exchange_works(garbage: bytes) -> None:
    healthy = threading.Event()

    def handle(message: bytes) -> bytes:
        return good(message) if healthy.is_set() else garbage

    with ZmqServer(handle) as server, gateway_on(server.port) as gateway:
        assert isinstance(gateway.read(), Unknown)
        assert gateway.get_positions()["status"] == "FAILED"
        assert gateway.send_order(ORDER)["status"] == "UNKNOWN"
        healthy.set()
        assert tickets(gateway.read()) == [make.TICKET]
        assert gateway.send_order(ORDER)["status"] == "FILLED"


# A gateway that goes and comes back.


def test_after_a_restart_on_the_same_port_the_client_comes_back_by_itself() -> None:
    with ZmqServer(good) as first, gateway_on(first.port, MUTE_MS) as gateway:
        assert tickets(until(lambda: usable(gateway.read()))) == [make.TICKET]
        gateway.timeout_ms = LONG_MS
        assert gateway.send_order(ORDER)["status"] == "FILLED"
        gateway.timeout_ms = MUTE_MS
        first.stop()
        assert isinstance(gateway.read(), Unknown)
        with ZmqServer(good, first.port) as second:
            assert tickets(until(lambda: usable(gateway.read()))) == [make.TICKET]
            numbers = iter(range(1000))
            until(lambda: _is_filled(gateway, f"B{next(numbers)}"))
            assert "A" not in order_ids(second)


def _is_filled(gateway: ExecutionGateway, order_id: str) -> bool:
    return bool(gateway.send_order(ORDER | {"order_id": order_id})["status"] == "FILLED")


def test_an_order_under_way_when_the_gateway_dies_is_not_sent_to_its_successor() -> None:
    with ZmqServer(mute) as first, gateway_on(first.port, LONG_MS) as gateway:
        outcomes: list[dict[str, Any]] = []
        sender = threading.Thread(target=lambda: outcomes.append(gateway.send_order(ORDER)))
        gateway.timeout_ms = 1_000
        sender.start()
        first.wait_for(1)
        first.stop()
        with ZmqServer(good, first.port) as second:
            sender.join(BOUND_SEC)
            assert outcomes[0]["status"] == "UNKNOWN"
            numbers = iter(range(1000))
            until(lambda: _is_filled(gateway, f"B{next(numbers)}"))
            assert "A" not in order_ids(second)


def test_after_disconnect_the_next_request_connects_again() -> None:
    with ZmqServer(good) as server:
        gateway = gateway_on(server.port)
        assert tickets(gateway.read()) == [make.TICKET]
        gateway.disconnect()
        gateway.disconnect()
        assert tickets(gateway.read()) == [make.TICKET]
        assert gateway.send_order(ORDER)["status"] == "FILLED"
        gateway.disconnect()


def test_disconnect_forgets_the_question_under_way() -> None:
    with ZmqServer(mute) as server, gateway_on(server.port) as gateway:
        gateway.ask()
        until(lambda: gateway.poll() is None and server.count() == 1)
        gateway.disconnect()
        gateway.ask()
        until(lambda: gateway.poll() is None and server.count() == 2)
        server.answer(0, listing(111))
        server.answer(1, listing(222))
        assert tickets(until(gateway.poll)) == [222]


def test_leaving_the_context_closes_every_connection() -> None:
    with ZmqServer(good) as server, zmq.Context() as context:
        with ExecutionGateway(
            "127.0.0.1", server.port, LONG_MS, link=lambda url: ZmqLink(url, context)
        ) as gateway:
            gateway.read()
            gateway.send_order(ORDER)
        # Terminating this context hangs as long as a socket of it is open.
        context.term()
        assert context.closed


def test_a_context_that_is_left_by_an_exception_is_closed_too() -> None:
    context = zmq.Context()

    def in_vain(port: int) -> None:
        link = lambda url: ZmqLink(url, context)  # noqa: E731
        with ExecutionGateway("127.0.0.1", port, LONG_MS, link=link) as gateway:
            gateway.read()
            raise RuntimeError

    with ZmqServer(good) as server, pytest.raises(RuntimeError):
        in_vain(server.port)
    context.term()
    assert context.closed


# The guide's words, over real sockets.


def test_reconciler_on_real_sockets_degrades_and_recovers() -> None:
    port = free_port()
    with gateway_on(port, SHORT_MS) as gateway:
        pm = PortfolioManager(symbol="EURUSD")
        pm.force_add_position(make.row(5))
        reconciler = StateReconciler(pm, gateway, sync_interval_sec=15)
        before = pm.book.state()
        result = reconciler.startup_recovery()
        assert result.status is SyncStatus.DEGRADED
        assert "Gateway offline" in result.errors[0]
        assert pm.book.state() == before
        with ZmqServer(good, port):
            found = until(lambda: _is_success(reconciler))
            assert (found.recovered, found.closed) == (1, 1)
            assert list(pm.get_local_positions()) == [make.TICKET]


def _is_success(reconciler: StateReconciler) -> Any:
    result = reconciler.sync_positions()
    return result if result.status is SyncStatus.SUCCESS else None


def test_settings_give_the_gateway_when_nothing_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with ZmqServer(good) as server:
        monkeypatch.setenv("GTW_HOST", "127.0.0.1")
        monkeypatch.setenv("GTW_PORT", str(server.port))
        monkeypatch.setenv("GTW_TIMEOUT_MS", "4321")
        with ExecutionGateway() as gateway:
            assert (gateway.host, gateway.port, gateway.timeout_ms) == (
                "127.0.0.1",
                server.port,
                4321,
            )
            assert gateway.connect()


def test_a_server_of_the_package_survives_what_nobody_can_read() -> None:
    """The other end of the wire: one mad caller does not end the gateway for all."""

    class Nobody:
        # The server asks for this at its start, and nothing else.
        makes_calls_together = False

        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    server = Server("tcp://127.0.0.1:0", anybody(Desk(Nobody(), "boot", time.time_ns).handle))
    link = ZmqLink(server.endpoint)
    try:
        for mad in (b"", b"\xff", b'{"action":"PING","x":' + b"[" * 100_000, b"[" * 100_000):
            link.send(mad, LONG_MS)
            assert until(lambda: server.serve_once(10)) == 1
            answer = json.loads(link.receive(LONG_MS) or b"{}")
            assert answer["status"] == "ERROR"
    finally:
        link.close()
        server.close()


# A gateway that ends.


def test_the_last_reply_is_read_before_the_connection_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """ZeroMQ drops what a client has received and not read yet when the connection ends."""
    server = Server("tcp://127.0.0.1:0", anybody(lambda request: request))
    link = ZmqLink(server.endpoint)
    read: list[bytes | None] = []

    def reads_meanwhile(_: threading.Event, seconds: float) -> None:
        assert seconds == 600
        read.append(link.receive(LONG_MS))

    sending = threading.Thread(target=link.send, args=(b"the last", LONG_MS))
    sending.start()
    until(lambda: server.serve_once(10) > 0)
    sending.join()
    monkeypatch.setattr(threading.Event, "wait", reads_meanwhile)
    server.close(600)
    link.close()
    assert read == [b"the last"]


def test_a_gateway_that_answered_nobody_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server("tcp://127.0.0.1:0", anybody(lambda request: request))
    waits: list[float] = []
    monkeypatch.setattr(threading.Event, "wait", lambda _, seconds: waits.append(seconds))
    server.close(600)
    assert waits == []
