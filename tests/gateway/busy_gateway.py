"""A gateway whose terminal blocks when told to, on real sockets, with its front in a thread."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import zmq

from trueup.gateway.desk.desk import Desk
from trueup.gateway.server.front import Front
from trueup.gateway.server.queue import TaskQueue
from trueup.gateway.server.sockets import Server
from trueup.gateway.terminal.clocks import Clocks
from trueup.runtime.time.clock import ManualClock
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.person import Person
from trueup.sim.terminal.terminal import SimulatedTerminal

Result = TypeVar("Result")

DEADLINE_MS = 60_000
SYMBOL = "EURUSD"


class BlockingTerminal:
    """The simulated terminal, with calls that can be kept from returning.

    `calls` has the functions in the order in which they were called; `order_comments` names the
    orders that reached `order_send`.
    """

    def __init__(self, terminal: SimulatedTerminal) -> None:
        self.calls: list[str] = []
        self.order_comments: list[str] = []
        self.blocks_in = ""
        self.is_blocked = threading.Event()
        self.go_on = threading.Event()
        self.lock = threading.Lock()
        self._terminal = terminal

    def block_in(self, function: str) -> None:
        """Let the next call of a function wait for `let_go`."""
        self.is_blocked.clear()
        self.go_on.clear()
        self.blocks_in = function

    def let_go(self) -> None:
        self.blocks_in = ""
        self.go_on.set()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(self._terminal, name)

        def call(*args: Any, **named: Any) -> Any:
            self.calls.append(name)
            if name == "order_send":
                self.order_comments.append(args[0].get("comment", ""))
            if name == self.blocks_in:
                self.blocks_in = ""
                self.is_blocked.set()
                assert self.go_on.wait(DEADLINE_MS / 1000)
            with self.lock:
                return function(*args, **named)

        return call


class BusyGateway:
    """A `Front` before a `BlockingTerminal`; time is the injected clock's."""

    def __init__(
        self, *, patience_ms: int = 1_000, watch_ms: int = 0, queue: TaskQueue | None = None
    ) -> None:
        self.clock = ManualClock()
        program = SimulatedTerminal(
            account=AccountSetup(balance=1e6), now_msc=lambda: self.clock.now_ns() // 1_000_000
        )
        program.initialize()
        program.quote(SYMBOL, 1.1, 1.1001)
        self.program = program
        self.terminal: Any = BlockingTerminal(program)
        clocks = Clocks(self.clock.now_ns, self.clock.age_ns, self.clock.waiting_ns)
        desk = Desk(self.terminal, "boot", self.clock.now_ns, clocks=clocks)
        self.front = Front(
            desk,
            self.clock.age_ns,
            patience_ms=patience_ms,
            watch_ms=watch_ms,
            queue=queue,
        )
        anywhere = "tcp://127.0.0.1:0"
        self.server = Server(anywhere, self.front.handle, hints=anywhere)
        self._thread = threading.Thread(target=self.front.run, args=(self.server,), daemon=True)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._askers: list[Asker] = []

    def by_hand(self, act: Callable[[Person], Result]) -> Result:
        """Let a person do something at the terminal, between two of the gateway's calls."""
        with self.terminal.lock:
            return act(self.program.person)

    def client(self, kind: int = zmq.REQ) -> Asker:
        """A client of its own, with a connection of its own."""
        asker = Asker(self._context.socket(kind), self.server.endpoint)
        self._askers.append(asker)
        return asker

    def trader_blocked_in(self, function: str) -> Asker:
        """A client whose order, named first, has the terminal blocked in a call of a function."""
        trader = self.client()
        self.terminal.block_in(function)
        trader.send_order("first")
        assert self.terminal.is_blocked.wait(DEADLINE_MS / 1000)
        return trader

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.terminal.let_go()
        self.front.stop()
        self.wait_for_end()
        self.close()

    def wait_for_end(self) -> None:
        """Wait until the front, which was stopped, has ended."""
        self._thread.join(DEADLINE_MS / 1000)
        assert not self._thread.is_alive()

    def close(self) -> None:
        """Close every socket; the front has ended."""
        self.server.close()
        for asker in self._askers:
            asker.socket.close()
        self._context.term()


class Asker:
    """A client's socket, in JSON."""

    def __init__(self, socket: zmq.Socket[bytes], endpoint: str) -> None:
        self.socket = socket
        socket.rcvtimeo = socket.sndtimeo = DEADLINE_MS
        socket.linger = 0
        socket.connect(endpoint)

    def send(self, action: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"action": action, **fields}).encode())

    def receive(self) -> dict[str, Any]:
        reply = json.loads(self.socket.recv())
        assert isinstance(reply, dict)
        return reply

    def ask(self, action: str, **fields: Any) -> dict[str, Any]:
        self.send(action, **fields)
        return self.receive()

    def is_answered(self) -> bool:
        return bool(self.socket.poll(0))

    def send_order(self, order_id: str, **fields: Any) -> None:
        self.send("BUY", order_id=order_id, symbol=SYMBOL, volume=0.01, **fields)
