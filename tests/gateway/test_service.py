"""A terminal served at a socket, and the real client at the other end."""

from __future__ import annotations

import pytest

from tests.support.servers import Threaded, free_port
from trueup.errors import SettingsError
from trueup.gateway.client import ExecutionGateway
from trueup.gateway.service import Service, ServiceOptions
from trueup.runtime.clock import SystemClock
from trueup.sim.terminal import SimulatedTerminal

NOW_MSC = 1_700_000_000_000
LONG_MS = 10_000
LOCAL = "127.0.0.1"


def started() -> SimulatedTerminal:
    terminal = SimulatedTerminal(now_msc=lambda: NOW_MSC)
    assert terminal.initialize()
    return terminal


class Served(Threaded):
    """A service in a thread of its own."""

    def __init__(self, terminal: SimulatedTerminal) -> None:
        super().__init__()
        self.service = Service(terminal, ServiceOptions(), SystemClock().now_ns)
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


def test_a_port_that_is_taken_is_named() -> None:
    port = free_port()
    options = ServiceOptions(port=port)
    first = Service(started(), options, SystemClock().now_ns)
    with pytest.raises(SettingsError, match=f"--port='{port}' is not valid.*tcp://127.0.0.1"):
        Service(started(), options, SystemClock().now_ns)
    first.close()
