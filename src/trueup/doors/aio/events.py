"""Hand the events of a book from the thread that commits them to a waiting asyncio program."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence

from trueup.core.book.events import Event
from trueup.errors import TrueupError

# The events that wait for a slow reader; a recovery of ten thousand positions is one for each.
EVENTS_MOST = 100_000


class EventStream:
    """The events of a book from now on, for one reader.

    Args:
        loop: the event loop of the reader.
        most: the greatest number of events that may wait for the reader.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, most: int = EVENTS_MOST) -> None:
        self._loop, self._most = loop, most
        self._waiting: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._ended = False
        self._fell_behind = False

    def put(self, history: Sequence[Event]) -> None:
        """Hand events over; may be called in any thread, and never waits."""
        self._wake(tuple(history))

    def end(self) -> None:
        """End the stream after the events that wait."""
        self._wake(None)

    def _wake(self, history: tuple[Event, ...] | None) -> None:
        # A loop that was closed has no reader any more.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take, history)

    def _take(self, history: tuple[Event, ...] | None) -> None:
        if history is None:
            self._ended = True
        elif len(self._waiting) + len(history) > self._most:
            self._fell_behind = True
        elif not self._fell_behind:
            self._waiting.extend(history)
        self._arrived.set()

    async def read(self) -> AsyncGenerator[Event, None]:
        """Yield the events, in the order of the journal.

        Raises:
            TrueupError: the reader was so slow that events were dropped; the journal has them.
        """
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._fell_behind:
                raise TrueupError(
                    f"More than {self._most} events waited for this reader, and the newest were "
                    "dropped: the journal has all of them."
                )
            if self._ended:
                return
            self._arrived.clear()
            await self._arrived.wait()
