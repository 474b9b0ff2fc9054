"""Read the fleet of the page's journal: at most about once a second, for all readers together."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future
from functools import partial
from typing import NamedTuple

from trueup.core.dates import iso
from trueup.doors.fleet.fleet import Fleet
from trueup.doors.fleet.overview import FleetView, Wanted, view_of
from trueup.doors.fleet.tables import NoFleet
from trueup.doors.page.fleet.worker import NoAnswer, Worker, answer_of
from trueup.errors import TrueupError
from trueup.observe.lines import clock_of
from trueup.runtime.time.clock import SystemClock

# Younger than this, a reading is shown again: each reader's stream asks about once a second.
KEPT_SEC = 0.9
# A browser greys a page that says nothing for three seconds.
ANSWER_SEC = 2.0
# Searches whose readings are kept for other readers.
KEPT_MOST = 50
NOT_KNOWN = "What the fleet does is not known."


class Reading(NamedTuple):
    """What was read: `view` is None without a fleet, or with `trouble`, which says why.

    `may_be_there` is false only for a database that has no fleet.
    """

    view: FleetView | None
    trouble: str = ""
    may_be_there: bool = True


class FleetReader:
    """Reads the fleet in a thread; all but the thread's part is called by one event loop.

    Args:
        url: the URL of the journal.
    """

    def __init__(self, url: str) -> None:
        self.url: str = url
        self._clock = SystemClock()
        self._worker = Worker("fleet")
        self._asked: dict[Wanted, tuple[int, Future[Reading]]] = {}
        # Used by the thread alone.
        self._fleet: Fleet | None = None
        self._is_there: bool | None = None
        self._answered_ns = self._clock.now_ns()

    async def read(self, wanted: Wanted) -> Reading:
        """Return what there is of the fleet; waits two seconds at most."""
        try:
            return await answer_of(self._reading(wanted), ANSWER_SEC)
        except NoAnswer:
            since = clock_of(iso(self._answered_ns))
            words = f"The database of the fleet does not answer since {since} UTC. {NOT_KNOWN}"
            return Reading(None, words)

    async def is_there(self) -> bool:
        """Return whether the database has a fleet, as far as it was ever read."""
        if self._is_there is None:
            await self.read(Wanted())
        return bool(self._is_there)

    def _reading(self, wanted: Wanted) -> Future[Reading]:
        now_ns = self._clock.waiting_ns()
        asked_ns, known = self._asked.get(wanted, (0, None))
        if known is not None and (not known.done() or now_ns - asked_ns < KEPT_SEC * 1e9):
            return known
        if len(self._asked) >= KEPT_MOST:
            self._asked = {key: one for key, one in self._asked.items() if not one[1].done()}
        made = self._worker.submit(partial(self._read, wanted))
        self._asked[wanted] = now_ns, made
        return made

    # The thread.

    def _read(self, wanted: Wanted) -> Reading:
        try:
            view = view_of(self._connected(), wanted)
        except NoFleet as error:
            self._is_there = False
            reading = Reading(None, str(error), may_be_there=False)
        except TrueupError as error:
            self._end()
            reading = Reading(None, f"{error} {NOT_KNOWN}")
        else:
            self._is_there = True
            reading = Reading(view)
        self._answered_ns = self._clock.now_ns()
        return reading

    def _connected(self) -> Fleet:
        # A node may make the tables that an earlier release has not made.
        if self._fleet is not None and not self._fleet.tells_accounts:
            self._end()
        if self._fleet is None:
            self._fleet = Fleet(self.url)
        self._fleet.database.restore()
        return self._fleet

    def _end(self) -> None:
        fleet, self._fleet = self._fleet, None
        if fleet is not None:
            with contextlib.suppress(TrueupError):
                fleet.database.close()
