"""Screens whose modules are imported when one of them is first asked for.

The page answers within a third of a second after its start, and many pages are never asked for
their past: the journal, the book and the words of all events take as long to import as all else.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from trueup.doors.page.app import LiveValues, now
from trueup.doors.page.samples import Samples
from trueup.doors.page.visit import Screen, Visit
from trueup.doors.watch import Place, Seen, Watch
from trueup.observe.status.status import Status

if TYPE_CHECKING:
    from trueup.doors.page.fleet.screens import FleetScreens

PAST = (
    *("/orders", "/orders/{order_id}", "/story", "/story.csv", "/moment", "/incident.zip"),
    *("/accounts", "/figures"),
)
ACTING = ("/approve", "/act/{name}", "POST /act/{name}", "/done/{number}")
# Of a page whose journal is on a server, which may have a fleet.
FLEET = (
    *("/", "/accounts", "/fleet/account", "/fleet/node"),
    *("/fleet/act/{name}", "POST /fleet/act/{name}", "/fleet/done/{number}"),
)


class Screens:
    """The screens of the past and of actions.

    Args:
        place: the journal of the page.
        samples: what the page has seen since its start.
        watch: the statuses; is told of the books without a bot.
    """

    def __init__(self, place: Place, samples: Samples, watch: Watch) -> None:
        self._place, self._samples, self._watch = place, samples, watch
        self._turn = threading.Lock()
        self._fleet: FleetScreens | None = None
        watch.book_without_bot = self._book

    @property
    def by_path(self) -> Mapping[str, Screen]:
        """The screens, by their paths."""
        found = {**_each(PAST, self._past), **_each(ACTING, _acting)}
        if self._place.server is None:
            return found
        self._books = found["/accounts"]
        return {**found, **_each(FLEET, lambda: self._of_fleet().screens)}

    @property
    def live(self) -> Mapping[str, LiveValues]:
        """What gives the values of live screens that are not of a book, by their names."""
        return {} if self._place.server is None else {"fleet": self._live_fleet}

    async def _live_fleet(self, visit: Visit) -> dict[str, Any]:
        # A browser may ask for these first, after the page was started again.
        return await (await asyncio.to_thread(self._of_fleet)).live(visit)

    def _of_fleet(self) -> FleetScreens:
        from trueup.doors.page.fleet.screens import FleetScreens

        with self._turn:
            if self._fleet is None:
                self._fleet = FleetScreens(str(self._place.server), self._books, now)
            return self._fleet

    def _past(self) -> Mapping[str, Screen]:
        from trueup.doors.page.past.accounts import Accounts
        from trueup.doors.page.past.screens import Past

        accounts = Accounts(self._place, lambda: self._watch.leaves_journal_out)
        self._watch.book_without_bot = accounts.status
        return Past(accounts, self._samples).screens

    def _book(self, key: str, seen: Seen) -> Status | None:
        self._past()
        return self._watch.book_without_bot(key, seen)


def _acting() -> Mapping[str, Screen]:
    from trueup.doors.page.decide.screens import Acting

    return Acting().screens


def _each(paths: Iterable[str], load: Callable[[], Mapping[str, Screen]]) -> dict[str, Screen]:
    loaded: dict[str, Screen] = {}
    turn = asyncio.Lock()

    def screen(path: str) -> Screen:
        async def answer(visit: Visit) -> Response:
            # In a thread, so that the live pages go on; once, however many ask at once.
            async with turn:
                if not loaded:
                    loaded.update(await asyncio.to_thread(load))
            return await loaded[path](visit)

        return answer

    return {path: screen(path) for path in paths}
