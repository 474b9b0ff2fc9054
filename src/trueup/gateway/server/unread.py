"""Replies that wait because their connection takes none: bounded in bytes, for one and for all.

ZeroMQ keeps a number of messages for each connection, whatever their size: a thousand by default,
so a client that asks for large lists and reads none of them would fill the memory. So ZeroMQ is
given few, and the others wait here. A client that reads gets every reply; one that does not loses
its own, the latest first, as it would once ZeroMQ's queue is full.
"""

from __future__ import annotations

from collections import deque

from trueup.gateway.access.door import Client
from trueup.logs import Logger, logger

log: Logger = logger("trueup.server")

BYTES_EACH = 1 << 20
BYTES_ALL = 32 << 20


class Unread:
    """The replies that wait, by connection; for the thread that has the socket."""

    def __init__(self, bytes_each: int = BYTES_EACH, bytes_all: int = BYTES_ALL) -> None:
        self._bytes_each, self._bytes_all = bytes_each, bytes_all
        self._waiting: dict[bytes, deque[tuple[Client, bytes]]] = {}
        self._sizes: dict[bytes, int] = {}
        self._total = 0
        self._is_told = False

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def size(self) -> int:
        """How many bytes wait."""
        return self._total

    def has(self, client: Client) -> bool:
        """Return whether replies to this connection wait, so that a further one comes behind."""
        return client.way[0] in self._waiting

    def put(self, client: Client, reply: bytes) -> None:
        """Let a reply wait, or drop it where too much waits; one may always wait, if all may."""
        way, size = client.way[0], len(reply)
        has = self._sizes.get(way, 0)
        if (has and has + size > self._bytes_each) or self._total + size > self._bytes_all:
            self._tell(client)
            return
        self._waiting.setdefault(way, deque()).append((client, reply))
        self._sizes[way] = has + size
        self._total += size

    def ways(self) -> tuple[bytes, ...]:
        """Return the connections that replies wait for."""
        return tuple(self._waiting)

    def oldest(self, way: bytes) -> tuple[Client, bytes] | None:
        """Return the reply that waits longest for a connection, or None."""
        waiting = self._waiting.get(way)
        return waiting[0] if waiting else None

    def drop(self, way: bytes) -> None:
        """Let go of the oldest reply to a connection: it was taken, or nobody is there."""
        _, reply = self._waiting[way].popleft()
        self._sizes[way] -= len(reply)
        self._total -= len(reply)
        if not self._waiting[way]:
            del self._waiting[way], self._sizes[way]
            self._is_told = self._is_told and bool(self._waiting)

    def _tell(self, client: Client) -> None:
        if not self._is_told:
            self._is_told = True
            who = f"Key {client.user}" if client.user else "A client"
            log.warning("[GATEWAY] %s does not read its replies: some are dropped", who)
