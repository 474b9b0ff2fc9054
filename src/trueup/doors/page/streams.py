"""The open streams of the browsers: each is told of a new status, and old ones make room.

A browser holds at most six connections to a server, and a stream takes one. So a browser with many
tabs keeps only its newest streams; the older tabs are told to rest, and ask from time to time. All
browsers together have a bound as well.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from trueup.doors.watch import Seen, Watch

MOST_OF_A_BROWSER = 4
# Of all browsers: fewer than the server has connections, so that screens are answered meanwhile.
MOST = 100


class Stream:
    """An open stream.

    `must_rest` says that a newer tab of the browser needs the connection, `is_over` that the page
    ends: then the browser asks for a new stream, until a page is there again.
    """

    def __init__(self, watch: Watch) -> None:
        self.must_rest: bool = False
        self.is_over: bool = False
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Tell the stream, from any thread, that there is something new."""
        # The loop may close while the thread of the watch tells the streams.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._news.set)

    async def next_seen(self, most_sec: float) -> Seen | None:
        """Wait for the next gathering, at most so many seconds; return None without one."""
        try:
            await asyncio.wait_for(self._news.wait(), most_sec)
        except TimeoutError:
            return None
        self._news.clear()
        return self._watch.newest


class Streams:
    """The open streams, by the cookies of their browsers.

    Args:
        watch: gathers the statuses.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._open: dict[str, list[Stream]] = defaultdict(list)
        # In the order in which they were opened.
        self._all: dict[Stream, None] = {}
        self._is_over = False

    @property
    def count(self) -> int:
        """How many streams are open."""
        return len(self._all)

    def end(self) -> None:
        """End all streams, those of late comers too, because the page ends."""
        self._is_over = True
        for stream in self._all:
            stream.is_over = True
            stream.wake()

    @asynccontextmanager
    async def of(self, cookie: str) -> AsyncIterator[Stream]:
        """Open a stream of a browser until the end of the `with` block."""
        stream, others = Stream(self._watch), self._open[cookie]
        stream.is_over = self._is_over
        others.append(stream)
        self._all[stream] = None
        for old in (*others[:-MOST_OF_A_BROWSER], *list(self._all)[:-MOST]):
            old.must_rest = True
            old.wake()
        self._watch.listen(stream.wake)
        try:
            yield stream
        finally:
            self._watch.forget(stream.wake)
            del self._all[stream]
            others.remove(stream)
            if not others:
                self._open.pop(cookie, None)
