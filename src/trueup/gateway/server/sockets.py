"""Move request and reply bytes: a ROUTER socket that answers REQ and DEALER clients alike.

The handler interprets the messages. A handler that knows the answer returns it. Otherwise the
handler returns None and a later call of `reply`, from any thread, sends the answer: so
`gateway.server.front` answers other clients while the terminal is busy. Every request must get a
reply in the end, because a REQ client waits for it.
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

# Requests served per call of `serve_once`. The bound leaves the caller time for its own work during
# a flood: the simulated terminal's market, a stop signal.
REQUESTS_PER_TURN = 64
# A request has one frame, behind the return route: one empty frame, and one frame per proxy.
FRAMES_MAX = 16
# How long `close` waits for unsent replies: enough for a busy machine, and no wait if there are
# none.
LAST_REPLY_MS = 1_000
# How long a process that ends leaves its last replies to their readers. A client with ZMQ_IMMEDIATE
# drops what it has received and not read yet when the connection ends: one reply of six was lost
# so (libzmq 4.3.5).
READ_SEC = 0.2
# How soon replies that wait here are offered to ZeroMQ again.
OFFER_AGAIN_MS = 5
# As integers, because combining the flags of an enumeration costs more than sending a frame.
AT_ONCE = int(zmq.NOBLOCK)
MORE_AT_ONCE = int(zmq.NOBLOCK | zmq.SNDMORE)


Handler = Callable[[Client, bytes], bytes | None]


def anybody(handle: Callable[[bytes], bytes]) -> Handler:
    """Return a handler that answers every client alike, and at once."""
    return lambda _, request: handle(request)


class Server:
    """Answers each request that arrives at `endpoint` with `handle(client, request)`.

    One thread calls `serve_once`; `reply` and `publish` may be called from any thread.

    Args:
        endpoint: where to listen, such as tcp://127.0.0.1:5555; port 0 takes a free port.
        handle: takes a client and the bytes of its request; returns the bytes of the reply, or
            None if `reply` will send it later; must not raise.
        hints: the endpoint for hints (`gateway.reading.watcher`), or None for no hints.
        door: checks the connections; by default every client may connect, in plain text.

    Raises:
        OSError: an endpoint cannot be bound; `filename` is the endpoint, `strerror` the reason.
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
        # Messages from other threads: a reply and its client, or a hint and its account.
        self._outbox: deque[tuple[Client | int, bytes]] = deque()
        self.sent: int = 0
        """How many replies were handed to their connections."""
        self._lock = threading.Lock()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._unread = Unread()
        self._is_copy = False
        self._wake_in, self._wake_out = self._make_wake_sockets()
        self._door.start(self._context)
        self._hints: HintSocket | None = None
        self.endpoint: str
        # Release each part that is open by then, so that the ports are free for another attempt.
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
        self._poller.register(self._wake_out, zmq.POLLIN)

    def _make_wake_sockets(self) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        """Return a pair of sockets: a message to the first wakes the poll in `serve_once`."""
        wake_in, wake_out = self._context.socket(zmq.PAIR), self._context.socket(zmq.PAIR)
        wake_out.bind("inproc://wake")
        wake_in.connect("inproc://wake")
        return wake_in, wake_out

    @property
    def port(self) -> int:
        """The TCP port for requests."""
        return _port(self.endpoint)

    @property
    def hints_endpoint(self) -> str | None:
        """The endpoint for hints, or None."""
        return None if self._hints is None else self._hints.endpoint

    @property
    def hints_port(self) -> int:
        """The TCP port for hints, 0 if there are none."""
        return 0 if self.hints_endpoint is None else _port(self.hints_endpoint)

    @property
    def unread_bytes(self) -> int:
        """How many bytes of replies wait for connections that do not read."""
        return self._unread.size

    def serve_once(self, timeout_ms: int) -> int:
        """Wait at most `timeout_ms` for messages, then handle those that are there.

        Returns:
            How many requests were passed to the handler.

        Raises:
            TrueupError: this process is a fork of the one that serves.
        """
        if self._is_copy:
            raise TrueupError(f"{self.endpoint} is served by the process this one was forked from.")
        # A connection that reads again sends no event, so poll in short steps while replies wait.
        if self._unread:
            self._offer_again()
            timeout_ms = min(timeout_ms, OFFER_AGAIN_MS) if self._unread else timeout_ms
        ready = dict(self._poller.poll(timeout_ms))
        if self._wake_out in ready:
            self._send_outbox()
        elif not ready and self._hints is not None:
            self._hints.open_again()
        has_request = self._socket in ready
        served = 0
        while has_request and served < REQUESTS_PER_TURN:
            try:
                received = self._receive()
            except zmq.Again:
                # The connection was closed after the poll.
                return served
            if received is not None:
                client, request = received
                reply = self._handle(client, request)
                if reply is not None:
                    self._send(client, reply)
            served += 1
            # Ask for the socket's state: an attempt that raises `zmq.Again` costs a whole request.
            has_request = _has_some(self._socket)
        return served

    def _receive(self) -> tuple[Client, bytes] | None:
        """Return the next request, or None for a malformed message, which gets no reply."""
        first = self._socket.recv(AT_ONCE, copy=False)
        frames: list[bytes] = []
        count = 0
        for frame in self._rest_of(first):
            # Read to the last frame, so that the next call starts at a new message.
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
        self._post(client, reply)

    def publish(self, hint: bytes, login: int = 0) -> None:
        """Send a hint about an account to the subscribers that may see it; from any thread."""
        self._post(login, hint)

    def _post(self, to: Client | int, message: bytes) -> None:
        self._outbox.append((to, message))
        with self._lock:
            if not self._wake_in.closed:
                self._wake()

    def _wake(self) -> None:
        try:
            self._wake_in.send(b"", zmq.NOBLOCK)
        except zmq.Again:
            # A thousand wake-ups are queued already.
            return

    def _send_outbox(self) -> None:
        # Drain the wake-ups before the outbox: a message posted in between then wakes again.
        while _has_some(self._wake_out):
            self._wake_out.recv(zmq.NOBLOCK)
        while self._outbox:
            to, message = self._outbox.popleft()
            if isinstance(to, Client):
                self._send(to, message)
            elif self._hints is not None:
                self._hints.publish(message, to)

    def _send(self, client: Client, reply: bytes) -> None:
        if self._unread.has(client) or not self._is_taken(client, reply):
            self._unread.put(client, reply)

    def _is_taken(self, client: Client, reply: bytes) -> bool:
        """Pass a reply to its connection; return False if that has too many unread replies."""
        try:
            for frame in client.way:
                self._socket.send(frame, MORE_AT_ONCE)
            self._socket.send(reply, AT_ONCE)
            self.sent += 1
        except zmq.Again:
            return False
        except zmq.ZMQError:
            # The client has disconnected, so the reply can be dropped.
            return True
        return True

    def _offer_again(self) -> None:
        for way in self._unread.ways():
            while (waiting := self._unread.oldest(way)) is not None:
                if not self._is_taken(*waiting):
                    break
                self._unread.drop(way)

    def close(self, read_sec: float = 0) -> None:
        """Stop listening; wait at most `LAST_REPLY_MS` until the last replies are sent.

        Args:
            read_sec: how long clients have to read the last replies, in seconds: `READ_SEC` where
                the process ends.
        """
        if self._is_copy:
            return
        self._send_outbox()
        if self.sent:
            threading.Event().wait(read_sec)
        if self._hints is not None:
            self._hints.close()
        self._door.reject_all(DOMAIN)
        self._socket.close(LAST_REPLY_MS)
        self._end()

    def let_go_in_child(self) -> None:
        """Release a forked process's copies, which would keep the ports and connections open."""
        self._is_copy = True
        never_finalise(self, self._context)
        cut_connections(at_ports=[port for port in (self.port, self.hints_port) if port])

    def _end(self) -> None:
        with self._lock:
            self._wake_in.close(0)
        self._wake_out.close(0)
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
    """Return the return route and the request of a message; further frames may follow the request.

    The route ends with an empty frame (ZeroMQ RFC 28, REQ/REP envelopes). A message without an
    empty frame has the request as its last frame.
    """
    if b"" in frames[:-1]:
        end = frames.index(b"") + 1
        return frames[:end], json_frame(frames[end:])
    return frames[:-1], frames[-1]
