"""The gateway's sockets: how one is bound, and the one where hints go out.

ZeroMQ asks for a key once, when a connection begins. A request is judged again at the gate, each by
itself. A hint goes to everybody who listens. So when somebody who was let in may hear hints no
longer, the socket of hints is closed, and another is bound in its place. The others connect to that
one by themselves, and the door judges each of them anew.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import zmq

from trueup.gateway.access.door import HINTS_DOMAIN, Door
from trueup.gateway.client.endpoints import is_ipv6
from trueup.logs import Logger, logger

log: Logger = logger("trueup.access")

# Hints that one connection may leave in our memory.
MESSAGES_PER_CONNECTION: Final = 64
# Requests and replies may be large, so ZeroMQ keeps few of them. What it does not take of requests
# waits at the client; of replies, `gateway.server.unread` keeps the others.
UNREAD_REQUESTS: Final = 16
UNREAD_REPLIES: Final = 16
# ZeroMQ frees a port some milliseconds after its socket was closed. After so many attempts in vain
# it is most likely somebody else's.
ATTEMPTS_UNTOLD: Final = 30


class Bound(NamedTuple):
    """A socket that listens, and where; with the port that it was given for port 0."""

    socket: zmq.Socket[bytes]
    endpoint: str


def bound(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, endpoint: str, door: Door, domain: bytes
) -> Bound:
    """Open a socket that lets in whom the door lets in.

    Raises:
        OSError: the endpoint cannot be bound; `filename` is which, `strerror` says why.
    """
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, MESSAGES_PER_CONNECTION if kind == zmq.PUB else UNREAD_REPLIES)
    if kind == zmq.ROUTER:
        # So that a full connection is told, and its replies can wait where their bytes are counted.
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.RCVHWM, UNREAD_REQUESTS)
    socket.setsockopt(zmq.IPV6, is_ipv6(endpoint))
    door.fit(socket, domain)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        door.unfit(domain)
        socket.close(0)
        why = f"cannot listen on {endpoint}: {error.strerror}"
        raise OSError(error.errno, why, endpoint) from error
    return Bound(socket, socket.getsockopt_string(zmq.LAST_ENDPOINT))


class HintSocket:
    """Publishes hints at an endpoint to those who may hear them.

    Args:
        endpoint: where, such as tcp://127.0.0.1:5556; port 0 takes a free one, and keeps it.

    Raises:
        OSError: the endpoint cannot be bound.

    Attributes:
        endpoint: where, with the port that was taken.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, door: Door) -> None:
        self._context, self._door = context, door
        # By what it was decided who may hear: the edition of the allow file, and the account.
        self._rules = (0, 0)
        self._attempts = 0
        self._socket: zmq.Socket[bytes] | None
        self.endpoint: str
        self._socket, self.endpoint = bound(context, zmq.PUB, endpoint, door, HINTS_DOMAIN)

    def publish(self, hint: bytes, login: int) -> None:
        """Send a hint about an account to everybody who listens, and may hear it by now."""
        if self._door.lock is not None:
            rules = self._door.lock.allowed.revision(), login
            if rules != self._rules:
                self._rules = rules
                if not self._door.may_all_hear(login):
                    self.close()
        self.open_again()
        if self._socket is not None:
            self._socket.send(hint, zmq.NOBLOCK)

    def open_again(self) -> None:
        """Bind the endpoint again where that is due; never waits.

        While that fails hints reach nobody, which clients notice, and ask by themselves.
        """
        if self._socket is not None:
            return
        try:
            self._socket, _ = bound(self._context, zmq.PUB, self.endpoint, self._door, HINTS_DOMAIN)
        except OSError as error:
            self._attempts += 1
            if self._attempts == ATTEMPTS_UNTOLD:
                log.warning(
                    "[ACCESS] Hints reach nobody until their port is free: %s", error.strerror
                )
            return
        self._attempts = 0
        log.info("[ACCESS] Hints begin anew at %s for those who may hear them", self.endpoint)

    def close(self) -> None:
        """Stop publishing; closing twice does no harm."""
        socket, self._socket = self._socket, None
        if socket is not None:
            self._door.unfit(HINTS_DOMAIN)
            socket.close(0)
