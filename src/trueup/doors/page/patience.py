"""The connections of the page: who says nothing, or takes nothing, is hung up on.

uvicorn bounds the head of a request, and the idle time after an answer. It waits for ever for a
first request, and for a reader who does not read.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

MOST_CONNECTIONS = 200
MOST_HEAD_BYTES = 16_384
# Looked at so often; who waits at two looks in a row is hung up on.
LOOK_SEC = 10.0


class Patient(H11Protocol):
    """A connection of uvicorn with a bound on its silence.

    When all connections are taken, the oldest silent one makes room, so nobody locks the others out
    by saying nothing.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room for a new connection, and begin to look at it."""
        super().connection_made(transport)
        self._began, self._waited = self.loop.time(), False
        others = [one for one in self.connections if isinstance(one, Patient) and one is not self]
        silent = [one for one in others if one.is_silent and not one.transport.is_closing()]
        if len(others) >= MOST_CONNECTIONS and silent:
            min(silent, key=lambda one: one._began).transport.abort()
        self.loop.call_later(LOOK_SEC, self._look)

    @property
    def is_silent(self) -> bool:
        """Whether the connection has no request that is being answered."""
        # uvicorn declares no None, and begins with it.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _look(self) -> None:
        waits = self.is_silent or self.flow.write_paused
        if waits and self._waited:
            self.transport.abort()
        elif not self.transport.is_closing():
            self._waited = waits
            self.loop.call_later(LOOK_SEC, self._look)
