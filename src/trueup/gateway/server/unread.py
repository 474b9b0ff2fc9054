"""Buffer the replies to connections that do not read; bounded in bytes, per connection and in all.

ZeroMQ limits the number of queued messages per connection (1,000 by default), but not their size. A
client that requests large lists and reads none could so fill the memory. So ZeroMQ gets a small
limit and further replies wait here. A client that reads gets every reply. A client that does not
read loses its own newest replies, as it would with a full ZeroMQ queue.
"""

from __future__ import annotations

from collections import deque

from trueup.gateway.access.door import Client
from trueup.logs import Logger, logger

log: Logger = logger("trueup.server")

BYTES_EACH = 1 << 20
BYTES_ALL = 32 << 20


class Unread:
    """The waiting replies, by connection; only for the thread that owns the socket."""

    def __init__(self, bytes_each: int = BYTES_EACH, bytes_all: int = BYTES_ALL) -> None:
        self._bytes_each, self._bytes_all = bytes_each, bytes_all
        self._waiting: dict[bytes, deque[tuple[Client, bytes]]] = {}
        self._sizes: dict[bytes, int] = {}
        self._total = 0
        self._is_logged = False

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def size(self) -> int:
        """How many bytes of replies wait."""
        return self._total

    def has(self, client: Client) -> bool:
        """Return whether replies to this connection wait; a further reply must queue behind."""
        return client.way[0] in self._waiting

    def put(self, client: Client, reply: bytes) -> None:
        """Add a reply, or drop it if too many bytes wait.

        A connection may always have a single reply here, whatever its size, within the total limit.
        """
        way, size = client.way[0], len(reply)
        has = self._sizes.get(way, 0)
        if (has and has + size > self._bytes_each) or self._total + size > self._bytes_all:
            self._log_dropped(client)
            return
        self._waiting.setdefault(way, deque()).append((client, reply))
        self._sizes[way] = has + size
        self._total += size

    def ways(self) -> tuple[bytes, ...]:
        """Return the connections that have waiting replies."""
        return tuple(self._waiting)

    def oldest(self, way: bytes) -> tuple[Client, bytes] | None:
        """Return the oldest waiting reply of a connection, or None."""
        waiting = self._waiting.get(way)
        return waiting[0] if waiting else None

    def drop(self, way: bytes) -> None:
        """Remove a connection's oldest reply, because it was sent or the client has gone."""
        _, reply = self._waiting[way].popleft()
        self._sizes[way] -= len(reply)
        self._total -= len(reply)
        if not self._waiting[way]:
            del self._waiting[way], self._sizes[way]
            self._is_logged = self._is_logged and bool(self._waiting)

    def _log_dropped(self, client: Client) -> None:
        if not self._is_logged:
            self._is_logged = True
            sender = f"Key {client.user}" if client.user else "A client"
            log.warning("[GATEWAY] %s does not read its replies: some are dropped", sender)
