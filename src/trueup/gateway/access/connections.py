"""How many connections of one socket are let in at a time, as well as that can be known.

ZeroMQ has no limit for connections, and no way to end one. It asks the door about each, and does
not say later which connections were those that the door let in. So they are counted from two
sides. Its monitor tells when a connection comes and goes: the ones that are older than a handshake
may take have been let in, because the others are ended by then (ZMQ_HANDSHAKE_IVL). Of the younger
ones, as many as the door let in within that time.
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

# Told once, and again only after half have ended.
_ENOUGH: Final = 0.5
# The end of a handshake's time is noticed a little later than it comes.
_MARGIN_MS: Final = 1_000
_EVENT: Final = struct.Struct("=HI")
_WATCHED: Final = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED
_numbers = itertools.count(1)


class Room:
    """The places of one socket; safe to share between threads.

    Args:
        socket: is not bound yet.
        limit: how many connections may be let in at a time.
        handshake_ms: how long a connection may take to say who it is.
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
        # When each connection came, the oldest first; and when the latest ones were let in.
        self._came_ns: dict[int, int] = {}
        self._let_in_ns: deque[int] = deque()
        self._is_full = False
        self._lock = threading.Lock()
        self._monitor: zmq.Socket[bytes] = socket.context.socket(zmq.PAIR)
        # What is not read yet must never block ZeroMQ's own thread.
        self._monitor.setsockopt(zmq.RCVHWM, 0)
        self._monitor.setsockopt(zmq.LINGER, 0)
        address = f"inproc://connections-{next(_numbers)}"
        socket.monitor(address, _WATCHED)
        self._monitor.connect(address)

    def take(self) -> bool:
        """Take a place for a connection that may be let in; return whether there was one."""
        with self._lock:
            now_ns = self._count()
            taken = self._taken(now_ns)
            self._tell(taken)
            if taken >= self._limit:
                return False
            self._let_in_ns.append(now_ns)
            return True

    def turn(self) -> None:
        """Count who came and went; due now and then, because each waits here in memory."""
        with self._lock:
            self._count()

    def close(self) -> None:
        """Stop counting; the socket is closed by its owner, afterwards."""
        with self._lock:
            # In this order: an event for a monitor that is closed would block ZeroMQ's own thread.
            self._socket.monitor(None, 0)
            self._monitor.close(0)

    def _count(self) -> int:
        """Take in who came and went, and return the time."""
        now_ns = self._now_ns()
        try:
            while not self._monitor.closed:
                event, number = _EVENT.unpack(self._monitor.recv_multipart(zmq.NOBLOCK)[0])
                # A number that is given again stands for the newer connection.
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
        # Some that were let in have gone since, and the one that asks is among those that stand.
        return min(older + len(self._let_in_ns), len(self._came_ns) - 1)

    def _tell(self, taken: int) -> None:
        if taken >= self._limit and not self._is_full:
            self._is_full = True
            log.warning("[ACCESS] %d connections: others are refused until some end", self._limit)
        elif taken <= self._limit * _ENOUGH:
            self._is_full = False
