"""The facts behind every answer: gathered in threads, when somebody asks."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator

import msgspec
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from trueup.doors.metrics import table
from trueup.doors.metrics.asked import Asked
from trueup.doors.metrics.books import BookKeeper, name_of
from trueup.doors.metrics.counting import Counting, Key
from trueup.doors.metrics.exposition import families
from trueup.doors.metrics.gauges import Value, of_status
from trueup.doors.metrics.health import LATE_SEC, Health, health
from trueup.doors.watch import Place

# Prometheus waits for ten seconds, a probe of a supervisor often for one.
SCRAPE_SEC = 6.0
# The counters of a long journal come in a later scrape.
COUNT_SEC = 2.0
PROBE_SEC = 0.8
ENDED = "A mistake in trueup itself ended a part of this process: start it again."


class Facts(Collector):
    """The facts behind every answer, gathered when somebody asks.

    Args:
        place: the journal to read if no bot runs.
    """

    def __init__(self, place: Place) -> None:
        self._keeper = BookKeeper(place)
        self._counting = Counting()
        self._counts = Asked(self._count, "metrics-journals")
        self._statuses = Asked(self._gather, "metrics-statuses")
        # The first pass over a long journal takes a while: begin before the first scrape.
        self._statuses.ask()

    def _gather(self) -> None:
        self._keeper.gather()
        self._counts.ask()

    def _count(self) -> None:
        books = self._keeper.latest
        if books is not None:
            named = [name_of(one) for one in books.statuses if one.stream]
            self._counting.read(books.journals, named)

    def collect(self) -> Iterator[Family]:
        """Yield the metrics of a scrape, as the library asks for them."""
        # The books first, then their journals.
        self._statuses.wait(self._statuses.ask(), SCRAPE_SEC)
        self._counts.wait(self._counts.ask(), COUNT_SEC)
        return families(self._values(), self._counting)

    @property
    def trouble(self) -> str:
        """Why nothing new is found out any more; empty if all works."""
        return "" if self._statuses.is_alive and self._counts.is_alive else ENDED

    def _values(self) -> list[Value]:
        books, age_sec = self._keeper.latest, self._keeper.age_sec
        version = importlib.metadata.version("trueup")
        values = [Value(table.BUILD, (version,), 1.0)]
        if books is None or age_sec is None:
            return values
        values.append(Value(table.STATUS_AGE, (), age_sec))
        values.append(
            Value(table.STATUS_READABLE, (), float(not books.trouble and not self.trouble))
        )
        # Nothing is shown as the present that was true some time ago.
        if age_sec <= LATE_SEC:
            for status in books.statuses:
                values.extend(of_status(status))
        return values

    def health(self, path: str, names: Key) -> tuple[bool, bytes]:
        """Return whether all is well for one of the probes, and why as JSON.

        Raises:
            NoSuchBook: no book has these names.
        """
        self._statuses.wait(self._statuses.ask(), PROBE_SEC)
        if path == "/healthz" and self.trouble:
            return False, msgspec.json.encode(Health(ok=False, because=self.trouble)) + b"\n"
        answer = health(path, names, self._keeper.latest, self._keeper.age_sec)
        return answer.ok, msgspec.json.encode(answer) + b"\n"
