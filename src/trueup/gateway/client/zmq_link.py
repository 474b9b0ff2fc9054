"""A `Link` over ZeroMQ; the only place that translates ZeroMQ's errors into ours.

Giving up an exchange ends its connection: `reset` closes the socket, so a late reply is dropped.
That also makes gateways safe that echo no request id (ZeroMQ Guide, "Client-Side Reliability: Lazy
Pirate Pattern").

ZMQ_IMMEDIATE prevents a message from being queued while there is no connection: an order must not
be sent minutes later, when the gateway comes back. So a failed send certainly sent nothing.

Until a connection is established, a monitor listens for failed handshakes, because "key refused"
and "no gateway there" need different remedies. After a failed authentication ZeroMQ may stop
reconnecting for good, so the link then makes a new connection.
"""

from __future__ import annotations

import itertools
import os
import struct
import weakref

import zmq

from trueup.errors import HostUnknown, NotAllowed, NotSent, Obstructed, OutcomeUnknown
from trueup.forks import HOLDERS, cut_connections, never_finalise
from trueup.gateway.access.keys import LinkKeys
from trueup.gateway.client.endpoints import is_ipv6
from trueup.gateway.client.link import Signal
from trueup.gateway.client.lookup import Lookup
from trueup.protocol.text import json_frame

_WATCHED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
# As integers, because an enumeration costs more than the question.
_EVENTS, _POLLIN = int(zmq.EVENTS), int(zmq.POLLIN)
_SERIALS = itertools.count(1)
# An event and its value; for a failed authentication the value is the ZAP status.
_EVENT = struct.Struct("=HI")
_NO_ROOM_STATUS = 500
_NO_ROOM = "has no room for more connections now"
_NOT_ALLOWED = "refused this key: its allow list needs a line for {public}"
_FORKED = (
    "process {} made the connection to {}; a process forked from it needs an ExecutionGateway of "
    "its own"
)
_NOT_ITS_KEY = (
    "broke off the handshake: GTW_SERVER_KEY is not its public key, or it speaks plain text only"
)
_WANTS_KEYS = (
    "broke off the handshake: it is no plain ZeroMQ gateway; where it wants keys, "
    "set GTW_SERVER_KEY and GTW_KEY_FILE"
)


class ZmqLink:
    """A connection to the gateway at `endpoint`, such as tcp://127.0.0.1:5555.

    Args:
        endpoint: the endpoint.
        context: the ZeroMQ context; by default the process's.
        keys: encrypt with CURVE, and accept only a gateway with this public key; None for plain
            text.
    """

    def __init__(
        self,
        endpoint: str,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        *,
        keys: LinkKeys | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._keys = keys
        self._context = context or zmq.Context.instance()
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._lookup: Lookup | None = None
        self.is_ipv6: bool = is_ipv6(endpoint)
        """Whether the host has only IPv6 addresses, as far as is known."""
        self._process = os.getpid()
        HOLDERS.add(self)

    def let_go_in_child(self) -> None:
        """In a forked process: release the copy of the connection, which belongs to the parent."""
        sockets, self._socket, self._monitor = (self._socket, self._monitor), None, None
        never_finalise(*sockets, self._context)
        if sockets[0] is not None:
            self._let_go.detach()
            cut_connections(to=[address_of(self.endpoint)])

    def open(self) -> None:
        """Begin to connect; does not wait, and does nothing on an open link.

        Raises:
            NotSent: the endpoint is not valid.
            Obstructed: this process is a fork of the one that made the link.
        """
        if self._socket is not None:
            return
        self._refuse_fork()
        socket = self._context.socket(zmq.REQ)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.setsockopt(zmq.IPV6, self.is_ipv6)
        if self._keys is not None:
            socket.curve_serverkey = self._keys.server.encode()
            socket.curve_publickey = self._keys.own.public.encode()
            socket.curve_secretkey = self._keys.own.secret.encode()
        # Start the monitor first, or it could miss an early failure.
        monitor = _watch(socket)
        try:
            socket.connect(self.endpoint)
        except zmq.ZMQError as error:
            _close(socket, monitor)
            raise NotSent(f"{self.endpoint} is not an endpoint: {error.strerror}") from error
        self._socket, self._monitor = socket, monitor
        # Close the sockets even if the gateway object is dropped without `disconnect()`.
        self._let_go = weakref.finalize(self, _close, socket, monitor)
        self._failed = self._status = 0
        self._serial, self._descriptor = next_serial(), int(socket.FD)
        self._send_timeout_ms = self._receive_timeout_ms = -1

    def send(self, message: bytes, timeout_ms: int) -> None:
        """Send a request; wait at most `timeout_ms` for a connection that accepts it.

        Raises:
            NotSent: no connection accepted the request.
            NotAllowed: the handshake failed; the message says what is likely to be wrong.
            HostUnknown: there is no host of this name.
            Obstructed: the gateway has no room, or this process is a fork of the link's owner.
        """
        if self._socket is None:
            self._refuse_fork()
            timeout_ms = self._find_host(timeout_ms)
            self.open()
        assert self._socket is not None
        left_ms = self._wait_for_handshake(timeout_ms)
        # Setting a socket option costs more than this comparison.
        if left_ms != self._send_timeout_ms:
            self._socket.sndtimeo = self._send_timeout_ms = left_ms
        try:
            self._socket.send(message)
        except zmq.Again as error:
            raise self._why_not(timeout_ms) from error
        except zmq.ZMQError as error:
            self.reset()
            raise NotSent(f"{self.endpoint}: {error.strerror}") from error
        self._stop_watching()

    def _refuse_fork(self) -> None:
        if os.getpid() != self._process:
            raise Obstructed(_FORKED.format(self._process, self.endpoint))

    def _find_host(self, timeout_ms: int) -> int:
        """Resolve the host name; return the remaining time (ms)."""
        host = self.endpoint.removeprefix("tcp://").rpartition(":")[0]
        lookup = self._lookup = self._lookup or Lookup(host)
        left_ms, found = timeout_ms, lookup.wait(0)
        if found is None:
            left_ms -= timeout_ms // 2
            found = lookup.wait(timeout_ms // 2)
        if found is None:
            raise NotSent(f"no connection to {self.endpoint}: {host} is being looked up")
        if found.error:
            self._lookup = None
            raise HostUnknown(f"{self.endpoint}: there is no host {host} ({found.error})")
        self.is_ipv6 = found.is_ipv6
        return left_ms

    def _wait_for_handshake(self, timeout_ms: int) -> int:
        """Wait for a connection or a refusal, for half of the time; return the remaining time (ms).

        A refused key stays refused, so the rest of the time is 0 then. Other failures may pass (the
        gateway is starting, a tunnel is opening); the other half of the time is for them.
        """
        if self._monitor is None or timeout_ms < 2:
            return timeout_ms
        half_ms = timeout_ms // 2
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLOUT)
        poller.register(self._monitor, zmq.POLLIN)
        poller.poll(half_ms)
        return 0 if self._failure() == zmq.EVENT_HANDSHAKE_FAILED_AUTH else timeout_ms - half_ms

    def _why_not(self, timeout_ms: int) -> NotSent:
        """Return why there is no connection; reset a connection that ZeroMQ may have given up."""
        failed = self._failure()
        if self._monitor is None or failed:
            self.reset()
        if not failed:
            # The host may have a new address by now: resolve the name again.
            self._lookup = None
            return NotSent(f"no connection to {self.endpoint} within {timeout_ms} ms")
        # A client without keys cannot be refused for its key, so the gateway requires keys.
        if self._keys is None:
            why = _WANTS_KEYS
        elif failed == zmq.EVENT_HANDSHAKE_FAILED_AUTH and self._status == _NO_ROOM_STATUS:
            return Obstructed(f"{self.endpoint} {_NO_ROOM}")
        elif failed == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            why = _NOT_ALLOWED.format(public=self._keys.own.public)
        else:
            why = _NOT_ITS_KEY
        return NotAllowed(f"{self.endpoint} {why}")

    def _failure(self) -> int:
        """Return the event of the latest failed handshake, or 0."""
        while self._monitor is not None and self._monitor.poll(0):
            self._failed, self._status = _EVENT.unpack(self._monitor.recv_multipart()[0])
        return self._failed

    def _stop_watching(self) -> None:
        if self._socket is not None and self._monitor is not None:
            _stop_watching(self._socket, self._monitor)
            self._monitor, self._failed = None, 0

    def receive(self, timeout_ms: int) -> bytes | None:
        """Return the reply, or None if none arrived within `timeout_ms` (0 does not wait)."""
        if self._socket is None:
            if os.getpid() != self._process:
                raise OutcomeUnknown(_FORKED.format(self._process, self.endpoint))
            return None
        if timeout_ms != self._receive_timeout_ms:
            self._socket.rcvtimeo = self._receive_timeout_ms = timeout_ms
        # The request was sent, so every error but a timeout leaves the outcome unknown.
        try:
            first = self._socket.recv()
            if not self._socket.getsockopt(zmq.RCVMORE):
                return first
            return json_frame([first, *self._socket.recv_multipart()])
        except zmq.Again:
            return None
        except zmq.ZMQError as error:
            self.reset()
            raise OutcomeUnknown(f"{self.endpoint}: {error.strerror}") from error

    def signal(self) -> Signal | None:
        """Return the descriptor to wait at, and whether there is something to do already.

        The descriptor becomes readable when the state of the connection changes, and only a look at
        that state, such as this method, makes it unreadable again (ZeroMQ, ZMQ_FD). None for a
        closed link.
        """
        if self._socket is None:
            return None
        return Signal(self._descriptor, self._serial, has_message(self._socket))

    def reset(self) -> None:
        """Drop the exchange under way by closing its connection."""
        if self._socket is not None:
            self._let_go()
            self._socket = self._monitor = None

    def close(self) -> None:
        """Close the connection; a later `send` opens it again."""
        self.reset()


def next_serial() -> int:
    """Return a number that no other connection of this process has."""
    return next(_SERIALS)


def has_message(socket: zmq.Socket[bytes]) -> bool:
    """Return whether a message waits at a socket; takes note of all news of its connection."""
    return bool(socket.getsockopt(_EVENTS) & _POLLIN)  # type: ignore[operator]


def make_room(sockets: int) -> int:
    """Let the process's ZeroMQ context have so many sockets; return how many it can have.

    Only before the first socket of this process: the context has 1,023 otherwise.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    most = int(context.get(zmq.SOCKET_LIMIT))
    wanted = min(most, max(sockets, int(context.get(zmq.MAX_SOCKETS))))
    context.set(zmq.MAX_SOCKETS, wanted)
    return wanted


def address_of(endpoint: str) -> tuple[str, int]:
    """Return host and port of an endpoint such as tcp://127.0.0.1:5555; port 0 if it has none."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    return host.strip("[]"), int(port) if port.isascii() and port.isdigit() else 0


def _watch(socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    """Return a socket that receives an event for each failed handshake of `socket`."""
    monitor: zmq.Socket[bytes] = socket.context.socket(zmq.PAIR)
    # No limit on unread events: a full queue would block ZeroMQ's own thread.
    monitor.setsockopt(zmq.RCVHWM, 0)
    address = f"inproc://handshakes-{socket.FD}"
    socket.monitor(address, _WATCHED)
    monitor.connect(address)
    return monitor


def _stop_watching(socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
    # In this order: an event for a closed monitor would block ZeroMQ's own thread.
    if not socket.closed:
        socket.monitor(None, 0)
    monitor.close(0)


def _close(socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
    _stop_watching(socket, monitor)
    socket.close(0)
