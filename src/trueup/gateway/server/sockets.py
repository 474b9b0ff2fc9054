"""The gateway's end of the wire: a ROUTER socket that answers REQ and DEALER clients alike.

What a message means is the handler's business; this module moves bytes. A handler that knows the
answer returns it. One that does not know it yet returns None, and `reply` brings it later, from any
thread: that is how `gateway.server.front` answers everybody while the terminal is busy. Somebody
must answer in the end, because a REQ client waits for a reply.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType

import zmq

from trueup.errors import TrueupError
from trueup.forks import HOLDERS, cut_connections, never_finalise
from trueup.gateway.access.door import DOMAIN, Client, Door, user_of
from trueup.gateway.server.hint_socket import HintSocket, bound
from trueup.gateway.server.unread import Unread
from trueup.protocol.text import json_frame

# One turn serves at most this many requests, so that a flood does not keep the caller's own work
# (the market of the simulated terminal, a stop signal) waiting.
REQUESTS_PER_TURN = 64
# A request has one, behind the way back: an empty one, and one for each hop of a proxy.
FRAMES_MAX = 16
# Enough for a machine that is busy with other things; waited for only where a reply is not out.
LAST_REPLY_MS = 1_000
# As numbers, because flags of an enumeration cost more to combine than a frame to send.
# How soon replies that wait here are offered again.
OFFER_AGAIN_MS = 5
AT_ONCE = int(zmq.NOBLOCK)
MORE_AT_ONCE = int(zmq.NOBLOCK | zmq.SNDMORE)


Handler = Callable[[Client, bytes], bytes | None]


def anybody(handle: Callable[[bytes], bytes]) -> Handler:
    """Return a handler that answers everybody alike, and at once."""
    return lambda _, request: handle(request)


class Server:
    """Answers each request that arrives at `endpoint` with `handle(client, request)`.

    One thread calls `serve_once`; `reply` and `publish` may be called from any.

    Args:
        endpoint: where to listen, such as tcp://127.0.0.1:5555; port 0 takes a free one.
        handle: from a client and the bytes of its request to the bytes of the reply, or to None
            when `reply` will bring it; must not raise.
        hints: where to publish hints (`gateway.reading.watcher`), or None to publish none.
        door: who may connect; anybody, in plain text, where none is given.

    Raises:
        OSError: an endpoint cannot be bound; `filename` is which, `strerror` says why.
    """

    def __init__(
        self,
        endpoint: str,
        handle: Handler,
        *,
        hints: str | None = None,
        door: Door | None = None,
    ) -> None:
        self._handle = handle
        self._door = door or Door()
        # What is sent to whom; to nobody: a hint, and to those who may see which account.
        self._late: deque[tuple[Client | int, bytes]] = deque()
        self.sent: int = 0
        """How many replies were handed to their connections."""
        self._lock = threading.Lock()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._unread = Unread()
        self._is_copy = False
        self._bell, self._ear = self._make_bell()
        self._door.keep(self._context)
        self._hints: HintSocket | None = None
        self.endpoint: str
        try:
            self._socket, self.endpoint = bound(
                self._context, zmq.ROUTER, endpoint, self._door, DOMAIN
            )
        except OSError:
            self._end()
            raise
        try:
            self._hints = None if hints is None else HintSocket(self._context, hints, self._door)
        except OSError:
            self.close()
            raise
        HOLDERS.add(self)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._ear, zmq.POLLIN)

    def _make_bell(self) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        """Return two ends of a line that wakes `serve_once` from another thread."""
        bell, ear = self._context.socket(zmq.PAIR), self._context.socket(zmq.PAIR)
        ear.bind("inproc://bell")
        bell.connect("inproc://bell")
        return bell, ear

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return _port(self.endpoint)

    @property
    def hints_endpoint(self) -> str | None:
        """Where it publishes hints, if it does."""
        return None if self._hints is None else self._hints.endpoint

    @property
    def hints_port(self) -> int:
        """The TCP port of its hints, 0 where it publishes none."""
        return 0 if self.hints_endpoint is None else _port(self.hints_endpoint)

    @property
    def unread_bytes(self) -> int:
        """How many bytes of replies wait for connections that take none."""
        return self._unread.size

    def serve_once(self, timeout_ms: int) -> int:
        """Wait at most `timeout_ms` for something to do, do what is there.

        Returns:
            How many requests were handed to the handler.

        Raises:
            TrueupError: this process was forked from the one that serves.
        """
        if self._is_copy:
            raise TrueupError(f"{self.endpoint} is served by the process this one was forked from.")
        if self._unread:
            self._offer_again()
            timeout_ms = min(timeout_ms, OFFER_AGAIN_MS) if self._unread else timeout_ms
        ready = dict(self._poller.poll(timeout_ms))
        if self._ear in ready:
            self._send_late()
        elif not ready and self._hints is not None:
            self._hints.open_again()
        has_request = self._socket in ready
        served = 0
        while has_request and served < REQUESTS_PER_TURN:
            try:
                received = self._receive()
            except zmq.Again:
                # Its connection ended in between.
                return served
            if received is not None:
                client, request = received
                reply = self._handle(client, request)
                if reply is not None:
                    self._send(client, reply)
            served += 1
            # Asked rather than tried, because a `zmq.Again` costs as much as a request.
            has_request = _has_some(self._socket)
        return served

    def _receive(self) -> tuple[Client, bytes] | None:
        """Return the next request, or None for a message that is none, which nobody answers."""
        first = self._socket.recv(AT_ONCE, copy=False)
        frames: list[bytes] = []
        count = 0
        for frame in self._rest_of(first):
            count += 1
            if count <= FRAMES_MAX:
                frames.append(frame)
        if not frames or count > FRAMES_MAX:
            return None
        way, request = _split(frames)
        user = "" if self._door.lock is None else user_of(first)
        return Client((first.bytes, *way), user), request

    def _rest_of(self, frame: zmq.Frame) -> Iterator[bytes]:
        more = frame.more
        while more:
            yield self._socket.recv(AT_ONCE)
            more = bool(self._socket.getsockopt(zmq.RCVMORE))

    def reply(self, client: Client, reply: bytes) -> None:
        """Send the reply to a request whose handler returned None; from any thread."""
        self._leave_word(client, reply)

    def publish(self, hint: bytes, login: int = 0) -> None:
        """Send a hint at an account to everybody who listens and may see it; from any thread."""
        self._leave_word(login, hint)

    def _leave_word(self, to: Client | int, message: bytes) -> None:
        self._late.append((to, message))
        with self._lock:
            if not self._bell.closed:
                self._ring()

    def _ring(self) -> None:
        try:
            self._bell.send(b"", zmq.NOBLOCK)
        except zmq.Again:
            # It rings already, a thousand times.
            return

    def _send_late(self) -> None:
        # First the bell, then what it rang for: a reply that comes in between rings again.
        while _has_some(self._ear):
            self._ear.recv(zmq.NOBLOCK)
        while self._late:
            to, message = self._late.popleft()
            if isinstance(to, Client):
                self._send(to, message)
            elif self._hints is not None:
                self._hints.publish(message, to)

    def _send(self, client: Client, reply: bytes) -> None:
        if self._unread.has(client) or not self._is_taken(client, reply):
            self._unread.put(client, reply)

    def _is_taken(self, client: Client, reply: bytes) -> bool:
        """Hand a reply to its connection; return False where that has too many unread."""
        try:
            for frame in client.way:
                self._socket.send(frame, MORE_AT_ONCE)
            self._socket.send(reply, AT_ONCE)
            self.sent += 1
        except zmq.Again:
            return False
        except zmq.ZMQError:
            # The client went away: there is nobody to tell.
            return True
        return True

    def _offer_again(self) -> None:
        for way in self._unread.ways():
            while (waiting := self._unread.oldest(way)) is not None:
                if not self._is_taken(*waiting):
                    break
                self._unread.drop(way)

    def close(self) -> None:
        """Stop listening, once the last reply is out or nobody takes it."""
        if self._is_copy:
            return
        self._send_late()
        if self._hints is not None:
            self._hints.close()
        self._door.unfit(DOMAIN)
        self._socket.close(LAST_REPLY_MS)
        self._end()

    def let_go_in_child(self) -> None:
        """Let go of a forked process's copies, which would keep the ports and the connections."""
        self._is_copy = True
        never_finalise(self, self._context)
        cut_connections(at_ports=[port for port in (self.port, self.hints_port) if port])

    def _end(self) -> None:
        with self._lock:
            self._bell.close(0)
        self._ear.close(0)
        self._context.term()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _port(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])


def _has_some(socket: zmq.Socket[bytes]) -> bool:
    return bool(int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)


def _split(frames: list[bytes]) -> tuple[list[bytes], bytes]:
    """Return the way back and the request of a message, which may have more frames behind it.

    The way ends with an empty frame (ZeroMQ RFC 28, REQ/REP envelopes); a sender that leaves that
    out sends the request last.
    """
    if b"" in frames[:-1]:
        end = frames.index(b"") + 1
        return frames[:end], json_frame(frames[end:])
    return frames[:-1], frames[-1]
