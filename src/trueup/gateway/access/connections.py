"""Limit the number of accepted connections of one ZeroMQ socket.

ZeroMQ has no connection limit and no call to close a connection. It asks the gateway (over ZAP)
whether to accept each connection, but never reports which open connection a ZAP answer belonged to.
So two counts are combined. The socket's monitor reports when a connection opens and closes. A
connection older than the handshake timeout must have been accepted, because ZeroMQ closes the
others by then (ZMQ_HANDSHAKE_IVL). To these are added the connections accepted within the last
handshake timeout.
"""

from __future__ import annotations

import itertools
import struct
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import zmq

from trueup.logs import Logger, logger

log: Logger = logger("trueup.access")

# After the warning that the limit is reached, warn again only after half of the connections closed.
_ENOUGH: Final = 0.5
# ZeroMQ closes a connection somewhat later than its handshake timeout.
_MARGIN_MS: Final = 1_000
_EVENT: Final = struct.Struct("=HI")
_WATCHED: Final = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED
_numbers = itertools.count(1)


class ConnectionLimit:
    """Counts the accepted connections of one socket; thread-safe.

    Args:
        socket: the socket, not bound yet.
        limit: how many accepted connections may be open at the same time.
        handshake_ms: the handshake timeout.
        now_ns: nanoseconds.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        limit: int,
        handshake_ms: int,
        now_ns: Callable[[], int],
    ) -> None:
        self._socket, self._limit, self._now_ns = socket, limit, now_ns
        self._handshake_ns = (handshake_ms + _MARGIN_MS) * 1_000_000
        # When each open connection was opened, oldest first; when recent connections were accepted.
        self._came_ns: dict[int, int] = {}
        self._let_in_ns: deque[int] = deque()
        self._is_full = False
        self._lock = threading.Lock()
        self._monitor: zmq.Socket[bytes] = socket.context.socket(zmq.PAIR)
        # No limit on unread events: a full queue would block ZeroMQ's own thread.
        self._monitor.setsockopt(zmq.RCVHWM, 0)
        self._monitor.setsockopt(zmq.LINGER, 0)
        address = f"inproc://connections-{next(_numbers)}"
        socket.monitor(address, _WATCHED)
        self._monitor.connect(address)

    def take(self) -> bool:
        """Reserve a place for a new connection; return False if the limit is reached."""
        with self._lock:
            now_ns = self._count()
            taken = self._taken(now_ns)
            self._tell(taken)
            if taken >= self._limit:
                return False
            self._let_in_ns.append(now_ns)
            return True

    def turn(self) -> None:
        """Read pending monitor events; call this regularly, because unread events use memory."""
        with self._lock:
            self._count()

    def close(self) -> None:
        """Stop counting; call this before the socket's owner closes the socket."""
        with self._lock:
            # In this order: an event for a closed monitor would block ZeroMQ's own thread.
            self._socket.monitor(None, 0)
            self._monitor.close(0)

    def _count(self) -> int:
        """Read all pending monitor events and return the current time (ns)."""
        now_ns = self._now_ns()
        try:
            while not self._monitor.closed:
                event, number = _EVENT.unpack(self._monitor.recv_multipart(zmq.NOBLOCK)[0])
                # The system reuses descriptor numbers: a number stands for its newest connection.
                self._came_ns.pop(number, None)
                if event == zmq.EVENT_ACCEPTED:
                    self._came_ns[number] = now_ns
        except zmq.Again:
            pass
        return now_ns

    def _taken(self, now_ns: int) -> int:
        since_ns = now_ns - self._handshake_ns
        while self._let_in_ns and self._let_in_ns[0] < since_ns:
            self._let_in_ns.popleft()
        older = 0
        for came_ns in self._came_ns.values():
            if came_ns >= since_ns:
                break
            older += 1
        # Accepted connections may have closed since, so the open ones are an upper bound. The
        # connection that asks now is open already and must not count against itself.
        return min(older + len(self._let_in_ns), len(self._came_ns) - 1)

    def _tell(self, taken: int) -> None:
        if taken >= self._limit and not self._is_full:
            self._is_full = True
            log.warning("[ACCESS] %d connections: others are refused until some end", self._limit)
        elif taken <= self._limit * _ENOUGH:
            self._is_full = False
