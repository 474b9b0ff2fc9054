"""Bind the gateway's sockets, and publish hints.

ZeroMQ checks a key once, when a connection begins. Requests are checked again at the gate, each by
itself, but a hint goes to every subscriber. So when an accepted subscriber may no longer see the
account, the hint socket is closed and a new socket is bound to the same endpoint. The other
subscribers reconnect by themselves, and the door checks each of them again.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import zmq

from trueup.gateway.access.door import HINTS_DOMAIN, Door
from trueup.gateway.client.endpoints import is_ipv6
from trueup.logs import Logger, logger

log: Logger = logger("trueup.access")

# Hints queued in memory for one slow connection.
MESSAGES_PER_CONNECTION: Final = 64
# Requests and replies may be large, so ZeroMQ queues few. Further requests wait at the client;
# further replies wait in `gateway.server.unread`.
UNREAD_REQUESTS: Final = 16
UNREAD_REPLIES: Final = 16
# ZeroMQ frees a port some milliseconds after its socket was closed. After this many failed
# attempts another program most likely has the port, and the log says so.
ATTEMPTS_BEFORE_WARNING: Final = 30


class Bound(NamedTuple):
    """A bound socket and its endpoint, with the real port where port 0 was asked for."""

    socket: zmq.Socket[bytes]
    endpoint: str


def bound(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, endpoint: str, door: Door, domain: bytes
) -> Bound:
    """Open and bind a socket whose connections `door` checks.

    Raises:
        OSError: the endpoint cannot be bound; `filename` is the endpoint, `strerror` the reason.
    """
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, MESSAGES_PER_CONNECTION if kind == zmq.PUB else UNREAD_REPLIES)
    if kind == zmq.ROUTER:
        # Report a full connection, so that its replies can wait where their bytes are counted.
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.RCVHWM, UNREAD_REQUESTS)
    socket.setsockopt(zmq.IPV6, is_ipv6(endpoint))
    door.secure(socket, domain)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        door.reject_all(domain)
        socket.close(0)
        why = f"cannot listen on {endpoint}: {_reason(error)}"
        raise OSError(error.errno, why, endpoint) from error
    return Bound(socket, socket.getsockopt_string(zmq.LAST_ENDPOINT))


class HintSocket:
    """Publishes hints at an endpoint to the subscribers that may see the account.

    Args:
        context: the ZeroMQ context of the server.
        endpoint: such as tcp://127.0.0.1:5556; port 0 takes a free port, and keeps it.
        door: checks the connections.

    Raises:
        OSError: the endpoint cannot be bound.

    Attributes:
        endpoint: the endpoint, with the real port.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, door: Door) -> None:
        self._context, self._door = context, door
        # Inputs of the last check of all subscribers: allow file revision, and account.
        self._rules = (0, 0)
        self._attempts = 0
        self._socket: zmq.Socket[bytes] | None
        self.endpoint: str
        self._socket, self.endpoint = bound(context, zmq.PUB, endpoint, door, HINTS_DOMAIN)

    def publish(self, hint: bytes, login: int) -> None:
        """Send a hint about the account `login` to all subscribers that may see the account."""
        if self._door.lock is not None:
            rules = self._door.lock.allowed.revision(), login
            if rules != self._rules:
                self._rules = rules
                if not self._door.may_all_see(login):
                    self.close()
        self.open_again()
        if self._socket is not None:
            self._socket.send(hint, zmq.NOBLOCK)

    def open_again(self) -> None:
        """Bind the endpoint again if it is closed; never waits.

        While binding fails no hints go out. Clients notice that and poll at their interval.
        """
        if self._socket is not None:
            return
        try:
            self._socket, _ = bound(self._context, zmq.PUB, self.endpoint, self._door, HINTS_DOMAIN)
        except OSError as error:
            self._attempts += 1
            if self._attempts == ATTEMPTS_BEFORE_WARNING:
                log.warning("[ACCESS] No hints go out until their port is free: %s", error.strerror)
            return
        self._attempts = 0
        log.info("[ACCESS] Hints go out again at %s to clients that may see them", self.endpoint)

    def close(self) -> None:
        """Stop publishing; a second call does nothing."""
        socket, self._socket = self._socket, None
        if socket is not None:
            self._door.reject_all(HINTS_DOMAIN)
            socket.close(0)


def _reason(error: zmq.ZMQError) -> str:
    if error.errno == zmq.EADDRINUSE:
        return "another program has this port, most likely a gateway that runs already"
    # ZeroMQ repeats the address behind the reason.
    return str(error.strerror).partition(" (addr=")[0]
