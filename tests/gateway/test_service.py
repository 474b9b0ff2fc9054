"""A terminal served at a socket, and the real client at the other end."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from tests.support.servers import Threaded, free_port, until
from trueup.errors import SettingsError
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.server.service import Service, ServiceOptions
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.time.clock import SystemClock
from trueup.sim.terminal.terminal import SimulatedTerminal

NOW_MSC = 1_700_000_000_000
LONG_MS = 60_000
LOCAL = "127.0.0.1"


def started() -> SimulatedTerminal:
    terminal = SimulatedTerminal(now_msc=lambda: NOW_MSC)
    assert terminal.initialize()
    return terminal


class Served(Threaded):
    """A service in a thread of its own."""

    def __init__(self, terminal: SimulatedTerminal, host: str = LOCAL) -> None:
        super().__init__()
        self.service = Service(terminal, ServiceOptions(host=host), SystemClock().now_ns)
        self.port = int(self.service.endpoint.rpartition(":")[2])

    def _run(self) -> None:
        self._ready.set()
        self.service.run()
        self.service.close()

    def stop(self) -> None:
        self.service.stop()
        super().stop()


def test_a_service_answers_a_bot_with_what_the_terminal_has() -> None:
    terminal = started()
    ticket = terminal.person.open("EURUSD", 0, 0.1)
    with Served(terminal) as served:
        gateway = ExecutionGateway(LOCAL, served.port, LONG_MS)
        reply = gateway.get_positions()
        gateway.disconnect()
    assert [row["ticket"] for row in reply["positions"]] == [ticket]


def test_the_order_under_way_when_it_is_told_to_stop_is_answered() -> None:
    terminal, begun, go_on = started(), threading.Event(), threading.Event()
    send = terminal.order_send

    def slowly(request: dict[str, Any]) -> Any:
        begun.set()
        assert go_on.wait(LONG_MS / 1000)
        return send(request)

    terminal.order_send = slowly  # type: ignore[method-assign, assignment]
    replies: list[dict[str, Any]] = []
    with Served(terminal) as served, ExecutionGateway(LOCAL, served.port, LONG_MS) as gateway:
        order = {"order_id": "A", "symbol": "EURUSD", "action": "BUY", "volume": 0.1, "price": 1.1}
        bot = threading.Thread(target=lambda: replies.append(gateway.send_order(order)))
        bot.start()
        assert begun.wait(LONG_MS / 1000)
        served.service.stop()
        go_on.set()
        bot.join()
    assert replies[0]["status"] == "FILLED"


def test_a_port_that_is_taken_is_named() -> None:
    port = free_port()
    options = ServiceOptions(port=port)
    first = Service(started(), options, SystemClock().now_ns)
    with pytest.raises(SettingsError) as refused:
        Service(started(), options, SystemClock().now_ns)
    assert str(refused.value) == (
        f"--port='{port}' is not valid: give an address of this machine and a port that is free, "
        f"or 0: cannot listen on tcp://127.0.0.1:{port}: another program has this port, most "
        "likely a gateway that runs already."
    )
    first.close()


def test_a_port_of_hints_that_is_taken_is_named_by_its_own_option() -> None:
    """Nobody gave it, so it is hard to guess that it is the one after --port."""
    port = free_port()
    with socket.create_server((LOCAL, port + 1)):
        said = f"--hints-port='{port + 1}' is not valid.*the one after --port.*tcp://127.0.0.1"
        with pytest.raises(SettingsError, match=said):
            Service(started(), ServiceOptions(port=port), SystemClock().now_ns)
    Service(started(), ServiceOptions(port=port), SystemClock().now_ns).close()


@pytest.mark.parametrize(
    ("options", "hints"),
    [
        (ServiceOptions(port=5555), "tcp://127.0.0.1:5556"),
        (ServiceOptions(port=5555, hints_port=7000), "tcp://127.0.0.1:7000"),
        (ServiceOptions(host="0.0.0.0", port=5555), "tcp://0.0.0.0:5556"),
        (ServiceOptions(port=0), "tcp://127.0.0.1:0"),
        (ServiceOptions(port=65_535), "tcp://127.0.0.1:0"),
        (ServiceOptions(port=5555, watch_ms=0), None),
    ],
)
def test_hints_are_on_the_port_after_that_of_requests(
    options: ServiceOptions, hints: str | None
) -> None:
    assert options.hints_endpoint == hints


def test_a_service_says_where_its_hints_are_and_sends_them() -> None:
    with Served(started()) as served, ExecutionGateway(LOCAL, served.port, LONG_MS) as gateway:
        pm = PortfolioManager("EURUSD")
        reconciler = StateReconciler(pm, gateway, 86_400)
        reconciler.startup_recovery()
        order = {"order_id": "another's", "symbol": "EURUSD", "action": "BUY", "volume": 0.1}
        filled = gateway.send_order({**order, "price": 1.1})
        until(reconciler.sync_continuous)
        assert list(pm.book.holdings) == [filled["ticket"]]
