"""The two books of a run as series: net lots by symbol, and the time span of each position.

The bots' book is the fold of the journal, row by row, so the series also has changes between two
syncs. If the journal contradicts itself, the book is drawn up to that row, and the page names the
row.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from trueup.core.book.book import Book
from trueup.errors import TrueupError
from trueup.journal.rows import codec
from trueup.lab.facts import facts
from trueup.lab.facts.facts import UNITS

BROKER, BOOK = "broker", "book"


class Steps:
    """Net lots (units of 1e-8) by time; each point holds until the next."""

    def __init__(self, begin_ns: int) -> None:
        self.points: list[tuple[int, int]] = [(begin_ns, 0)]

    def add(self, at_ns: int, units: int) -> None:
        """Add a point, unless nothing changes."""
        if self.points[-1][1] != units:
            self.points.append((at_ns, units))

    def at(self, at_ns: int) -> int:
        """Return the net lots (units of 1e-8) at a time."""
        return [units for since_ns, units in self.points if since_ns <= at_ns][-1]


class Lane:
    """A position, with its time spans at the broker and in the book (`BROKER`, `BOOK`)."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.spans: list[tuple[str, int, int]] = []


class Scenes:
    """The data about the two books that a drawing of a run needs."""

    def __init__(self, told: Sequence[facts.Fact]) -> None:
        self.begin_ns: int = told[0].at_ns if told else 0
        self.end_ns: int = told[-1].at_ns if told else 0
        self.healed_ns: int | None = None
        self.unreadable: tuple[int, str] | None = None
        """When the journal no longer gave a book, and a sentence with the event and the reason."""
        self.alive: list[tuple[str, int, int]] = []
        """The bots, with the time spans in which they ran."""
        self._started: dict[str, int] = {}
        self.symbols: list[str] = []
        self.net: dict[tuple[str, str], Steps] = {}
        self._lanes: dict[int, Lane] = {}
        self._since: dict[tuple[str, int], int] = {}
        self._held: dict[str, dict[int, tuple[str, int]]] = {BROKER: {}, BOOK: {}}
        self._book, self._rows = Book(), list[facts.Journalled]()
        self._login: int | None = None
        # The series are built in a single pass, since each row depends on the book before.
        for fact in told:
            self._take(fact)
        self._finish()

    def _finish(self) -> None:
        """End the open spans; those of an unreadable book end with its last readable row."""
        book_ends_ns = self.unreadable[0] if self.unreadable is not None else self.end_ns
        for whose, identifier in list(self._since):
            self._end(whose, identifier, book_ends_ns if whose == BOOK else self.end_ns)
        for bot in list(self._started):
            self._stop(bot, self.end_ns)

    @property
    def lanes(self) -> list[Lane]:
        """The positions, oldest first."""
        return list(self._lanes.values())

    def _take(self, fact: facts.Fact) -> None:
        match fact:
            case facts.DealBooked(login=login) if self._login is None:
                # The account of the first deal is the bots' own account.
                self._login = login
            case facts.PositionShown(login=self._login, position=held):
                units = held.units if held.side == "buy" else -held.units
                remote = {**self._held[BROKER], held.identifier: (held.symbol, units)}
                self._know(BROKER, fact.at_ns, remote)
            case facts.PositionLeft(login=self._login, identifier=gone):
                remote = {key: row for key, row in self._held[BROKER].items() if key != gone}
                self._know(BROKER, fact.at_ns, remote)
            case facts.Started(bot=bot, at_ns=at_ns):
                self._started.setdefault(bot, at_ns)
            case facts.Died(bot=bot, at_ns=at_ns):
                self._stop(bot, at_ns)
            case facts.Journalled() if self.unreadable is None:
                self._rows.append(fact)
                self._apply(fact)
                self._know(BOOK, fact.at_ns, dict(self._local()))
            case facts.JournalLost(position=position):
                # Fold the remaining rows again: a book cannot undo rows.
                self._book = Book()
                self._rows = [row for row in self._rows if row.position <= position]
                for row in self._rows:
                    self._apply(row)
                self._know(BOOK, fact.at_ns, dict(self._local()))
            case facts.Healed(at_ns=at_ns):
                self.healed_ns = at_ns

    def differ(self, symbol: str) -> list[tuple[int, int]]:
        """Return the time spans in which the two books had different net lots of a symbol."""
        nothing = Steps(self.begin_ns)
        remote, local = (self.net.get((whose, symbol), nothing) for whose in (BROKER, BOOK))
        end_ns = self.unreadable[0] if self.unreadable is not None else self.end_ns
        times = sorted({at_ns for at_ns, _ in (*remote.points, *local.points)} | {end_ns})
        found: list[tuple[int, int]] = []
        for at_ns, until_ns in itertools.pairwise(t for t in times if t <= end_ns):
            if remote.at(at_ns) == local.at(at_ns):
                continue
            if found and found[-1][1] == at_ns:
                at_ns = found.pop()[0]
            found.append((at_ns, until_ns))
        return found

    def _stop(self, bot: str, at_ns: int) -> None:
        begin_ns = self._started.pop(bot, None)
        if begin_ns is not None:
            self.alive.append((bot, begin_ns, at_ns))

    def _apply(self, row: facts.Journalled) -> None:
        try:
            self._book.apply(codec.decode(row.position, row.kind, row.payload))
        except (TrueupError, KeyError) as error:
            said = f"event {row.position} ({row.kind}) does not fit the book: {error}"
            self.unreadable = (row.at_ns, said)

    def _local(self) -> Iterator[tuple[int, tuple[str, int]]]:
        for identifier, holding in self._book.holdings.items():
            position = holding.position
            yield identifier, (position.symbol, round(position.net_volume * UNITS))

    def _know(self, whose: str, at_ns: int, now: dict[int, tuple[str, int]]) -> None:
        before = self._held[whose]
        self._held[whose] = now
        for identifier in before.keys() - now.keys():
            self._end(whose, identifier, at_ns)
        for identifier, (symbol, _) in now.items():
            self._since.setdefault((whose, identifier), at_ns)
            if identifier not in self._lanes:
                self._lanes[identifier] = Lane(f"position {identifier} {symbol}")
            if symbol not in self.symbols:
                self.symbols.append(symbol)
        for symbol in self.symbols:
            steps = self.net.setdefault((whose, symbol), Steps(self.begin_ns))
            steps.add(at_ns, sum(units for name, units in now.values() if name == symbol))

    def _end(self, whose: str, identifier: int, at_ns: int) -> None:
        begin_ns = self._since.pop((whose, identifier), None)
        if begin_ns is not None:
            self._lanes[identifier].spans.append((whose, begin_ns, at_ns))
