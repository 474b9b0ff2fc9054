"""Gateways in processes of their own, for `benchmarks.gateway`."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import zmq

from trueup.gateway.access.admission import Terms, admission
from trueup.gateway.access.keys import LinkKeys, new_keys, read_key_pair
from trueup.gateway.desk.desk import Desk
from trueup.gateway.record.store import Entry, RequestStore
from trueup.gateway.server.front import Front
from trueup.gateway.server.sockets import Server
from trueup.gateway.terminal.mt5_constants import ORDER_TYPE_BUY
from trueup.runtime.time.clock import SystemClock
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.process.process import TerminalOptions, TerminalProcess
from trueup.sim.process.whereabouts import Whereabouts
from trueup.sim.terminal.person import Person
from trueup.sim.terminal.terminal import SimulatedTerminal

SYMBOL = "EURUSD"
LOOPBACK = "tcp://127.0.0.1:0"
RICH = AccountSetup(balance=1e9)


@contextmanager
def _child(target: Callable[..., None], *args: Any) -> Iterator[Connection]:
    """Run a function in a process of its own, with one end of a pipe; end it afterwards."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=target, args=(there, *args), daemon=True)
    process.start()
    try:
        yield here
    finally:
        process.terminate()
        process.join()


def _simulated(count: int, clock: SystemClock) -> SimulatedTerminal:
    terminal = SimulatedTerminal(account=RICH, now_msc=lambda: clock.now_ns() // 1_000_000)
    terminal.initialize()
    terminal.quote(SYMBOL, 1.1, 1.1001)
    Person(terminal.broker, RICH.login).open_many(SYMBOL, ORDER_TYPE_BUY, 0.01, count)
    return terminal


def _serve_positions(pipe: Connection, count: int) -> None:
    clock = SystemClock()
    front = Front(Desk(_simulated(count, clock), "bench", clock.now_ns), clock.now_ns)
    with Server(LOOPBACK, front.handle) as server:
        pipe.send(server.port)
        front.run(server)


@contextmanager
def holding(count: int) -> Iterator[int]:
    """Serve a simulated terminal with so many positions; yield the port."""
    with _child(_serve_positions, count) as pipe:
        yield pipe.recv()


class InstantTerminal:
    """Answers every call with what a simulated terminal answered the first time."""

    def __init__(self, clock: SystemClock) -> None:
        self._terminal = _simulated(0, clock)
        self._answers: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            if name not in self._answers:
                self._answers[name] = getattr(self._terminal, name)(*args, **named)
            return self._answers[name]

        return call


class NoStore(RequestStore):
    """A record of orders that keeps nothing, and so costs nothing."""

    def find(self, order_id: str) -> Entry | None:
        """Return that the request is a new one."""
        return None

    def add(self, entry: Entry) -> bool:
        """Record nothing."""
        return True

    def end(self, order_id: str, state: str, reply: bytes) -> None:
        """Record nothing."""


def instant_desk(clock: SystemClock) -> Desk:
    """Return a desk whose terminal answers at once, and which records no orders."""
    terminal: Any = InstantTerminal(clock)
    return Desk(terminal, "bench", clock.now_ns, store=NoStore(None, "bench", clock.now_ns))


def _serve_instantly(pipe: Connection, terms: Terms) -> None:
    clock = SystemClock()
    desk = instant_desk(clock)
    door, gate = admission("127.0.0.1", terms, clock.now_ns)
    front = Front(desk, clock.now_ns, gate=gate)
    server = Server(LOOPBACK, front.handle, door=door)
    pipe.send(server.port)
    threading.Thread(target=front.run, args=(server,), daemon=True).start()
    while pipe.recv():
        pipe.send(time.process_time())


class Instant:
    """A gateway whose terminal answers at once.

    Args:
        keys: those of a client that it lets in, None in plain text.
    """

    def __init__(self, port: int, pipe: Connection, keys: LinkKeys | None) -> None:
        self.port, self._pipe, self._keys = port, pipe, keys

    def cpu_sec(self) -> float:
        """The CPU of its process so far, sockets included."""
        self._pipe.send(True)
        return float(self._pipe.recv())

    @contextmanager
    def client(self) -> Iterator[zmq.Socket[bytes]]:
        """Yield a bare REQ socket that it lets in."""
        with zmq.Context() as context, context.socket(zmq.REQ) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.RCVTIMEO, 10_000)
            if self._keys is not None:
                socket.curve_serverkey = self._keys.server.encode()
                socket.curve_publickey = self._keys.own.public.encode()
                socket.curve_secretkey = self._keys.own.secret.encode()
            socket.connect(f"tcp://127.0.0.1:{self.port}")
            yield socket


@contextmanager
def instant(*, encrypted: bool) -> Iterator[Instant]:
    """Run a gateway whose terminal answers at once, in plain text or with CURVE."""
    with tempfile.TemporaryDirectory() as home:
        keys, terms = _keys(Path(home)) if encrypted else (None, Terms())
        with _child(_serve_instantly, terms) as pipe:
            yield Instant(pipe.recv(), pipe, keys)


def _keys(folder: Path) -> tuple[LinkKeys, Terms]:
    gateway, bot = new_keys(folder / "keys", "gateway"), new_keys(folder / "keys", "bot")
    allow_file = folder / "keys" / "allow"
    allow_file.write_text(f"bot trade * {bot.public}\n", encoding="utf-8")
    allow_file.chmod(0o600)
    keys = LinkKeys(gateway.public, read_key_pair(bot.secret_file))
    return keys, Terms(key_file=gateway.secret_file, allow_file=allow_file)


def _run_terminal(pipe: Connection, home: str) -> None:
    os.environ["TRUEUP_HOME"] = home
    process = TerminalProcess(TerminalOptions(feed="random"))
    pipe.send(process.whereabouts)
    process.run()


@contextmanager
def terminal() -> Iterator[Whereabouts]:
    """Run the simulated terminal as `trueup terminal` does."""
    with tempfile.TemporaryDirectory() as home, _child(_run_terminal, home) as pipe:
        yield pipe.recv()
