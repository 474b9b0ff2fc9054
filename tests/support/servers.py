"""Gateways of all manners on loopback, in threads that end with their `with` block.

Whatever waits here waits on a condition, with a deadline.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import zmq

from scripts.support import request_at

DEADLINE_SEC = 60.0
TURN_MS = 5
# How long `until` rests: four times as long as a call took, a tenth of the wait, and no longer.
IDLE_SHARE, WAITED_SHARE, REST_MOST_SEC = 4, 0.1, 0.03

Handler = Callable[[bytes], bytes | None]


def free_port() -> int:
    """A loopback port that nobody listens on, nor on the one after it: a gateway takes both.

    Each process that runs tests has some of its own, below those that systems give for port 0.
    """
    return next(port for port in _PORTS if _is_free(port) and _is_free(port + 1))


def _own_ports() -> Iterator[int]:
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = _LOWEST_PORT + number % _WORKERS_MOST * _PORTS_EACH
    # Another run on this machine most likely begins elsewhere.
    begin = os.getpid() % (_PORTS_EACH // 2)
    ports = range(first, first + _PORTS_EACH, 2)
    return itertools.cycle((*ports[begin:], *ports[:begin]))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_LOWEST_PORT, _PORTS_EACH, _WORKERS_MOST = 12_000, 1_000, 20
_PORTS = _own_ports()


def until(
    predicate: Callable[[], Any], deadline_sec: float = DEADLINE_SEC, *, pause_sec: float = 0.001
) -> Any:
    """Call until it gives something true, and return that; fail at the deadline.

    It rests `pause_sec` between two calls, and longer where the calls would take much of a core
    from the process that they wait for: after a slow call, and in a long wait.
    """
    pause, begin = threading.Event(), time.monotonic()
    before = begin
    while True:
        value = predicate()
        if value:
            return value
        now = time.monotonic()
        assert now < begin + deadline_sec, "nothing happened before the deadline"
        rest = max(IDLE_SHARE * (now - before), WAITED_SHARE * (now - begin))
        pause.wait(max(pause_sec, min(rest, REST_MOST_SEC)))
        before = time.monotonic()


def request_kind(message: bytes) -> str:
    return str(json.loads(message)["action"])


def offer(client: zmq.Socket[bytes], frames: list[bytes]) -> bool:
    """Send a message if a connection takes it at once, and say whether one did.

    `poll` promises too little: a connection that is lost between two frames would leave the sender
    waiting for ever.
    """
    try:
        client.send_multipart(frames, zmq.NOBLOCK)
    except zmq.Again:
        return False
    return True


class Threaded:
    """A thread that turns until it is told to stop."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(DEADLINE_SEC)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(DEADLINE_SEC)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        raise NotImplementedError


class ZmqServer(Threaded):
    """A gateway on a ROUTER socket: `handle` gives the reply, or None to give none for now.

    `seen` has the requests in the order they came; `answer(number, reply)` answers one of those
    later, on the connection it came from. `before` and `behind` are frames around each reply.
    """

    def __init__(
        self,
        handle: Handler,
        port: int = 0,
        *,
        before: tuple[bytes, ...] = (),
        behind: tuple[bytes, ...] = (),
    ) -> None:
        super().__init__()
        self.port = port
        self._before, self._behind = before, behind
        self.seen: list[bytes] = []
        self._handle = handle
        self._envelopes: list[list[bytes]] = []
        self._late: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        self._arrived = threading.Condition()

    def answer(self, number: int, late_reply: bytes) -> None:
        self._late.put((number, late_reply))

    def wait_for(self, count: int, kind: str | None = None) -> None:
        """Wait until `count` requests (of a kind) have come."""
        with self._arrived:
            came = self._arrived.wait_for(lambda: self.count(kind) >= count, DEADLINE_SEC)
        assert came, f"{self.count(kind)} of {count} requests came"

    def count(self, kind: str | None = None) -> int:
        return sum(kind is None or request_kind(message) == kind for message in self.seen)

    def _run(self) -> None:
        with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
            router.setsockopt(zmq.LINGER, 0)
            # A server that died leaves its port behind; the next one takes it.
            until(lambda: self._bound(router))
            self._ready.set()
            while not self._stop.is_set():
                if router.poll(TURN_MS):
                    self._take(router)
                while not self._late.empty():
                    number, late_reply = self._late.get()
                    router.send_multipart([*self._envelopes[number], late_reply])

    def _bound(self, router: zmq.Socket[bytes]) -> bool:
        try:
            router.bind(f"tcp://127.0.0.1:{self.port or '*'}")
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE:
                raise
            return False
        self.port = int(router.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
        return True

    def _take(self, router: zmq.Socket[bytes]) -> None:
        *envelope, message = router.recv_multipart()
        with self._arrived:
            self._envelopes.append(envelope)
            self.seen.append(message)
            self._arrived.notify_all()
        answer = self._handle(message)
        if answer is not None:
            router.send_multipart([*envelope, *self._before, answer, *self._behind])


class RepServer(Threaded):
    """The guide's gateway: one REP socket, one request at a time, no id anywhere.

    Each answer waits for its turn in `permits`, so a reply can be made to come late.
    """

    def __init__(self, handle: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self.port = 0
        self.permits = threading.Semaphore(0)
        self.began = threading.Semaphore(0)
        self._handle = handle

    def _run(self) -> None:
        with zmq.Context() as context, context.socket(zmq.REP) as rep:
            rep.setsockopt(zmq.LINGER, 0)
            self.port = rep.bind_to_random_port("tcp://127.0.0.1")
            self._ready.set()
            while not self._stop.is_set():
                message = request_at(rep, TURN_MS)
                if message is None:
                    continue
                self.began.release()
                while not self.permits.acquire(timeout=TURN_MS / 1000):
                    if self._stop.is_set():
                        return
                rep.send(self._handle(message))


class TcpServer(Threaded):
    """Something on a TCP port that does not speak ZeroMQ.

    It accepts, says `greeting`, keeps what it hears in `heard`, and holds the line.
    """

    def __init__(self, greeting: bytes = b"") -> None:
        super().__init__()
        self.port = 0
        self.heard = b""
        self.accepted = threading.Event()
        self._greeting = greeting

    def _run(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(TURN_MS / 1000)
            self.port = int(listener.getsockname()[1])
            self._ready.set()
            lines: list[socket.socket] = []
            while not self._stop.is_set():
                self._accept(listener, lines)
                for line in lines:
                    self._hear(line)
            for line in lines:
                line.close()

    def _accept(self, listener: socket.socket, lines: list[socket.socket]) -> None:
        try:
            line, _ = listener.accept()
        except TimeoutError:
            return
        line.setblocking(False)
        lines.append(line)
        self._say(line)
        self.accepted.set()

    def _say(self, line: socket.socket) -> None:
        try:
            line.sendall(self._greeting)
        except OSError:
            return

    def _hear(self, line: socket.socket) -> None:
        try:
            self.heard += line.recv(65536)
        except OSError:
            return
