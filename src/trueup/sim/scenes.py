"""A run's two books as series: net lots by symbol, and from when to when each held a position.

The bots' book is the fold of the journal, row by row: it changes when they know something, and not
only when they sync.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trueup.core.book import Book
from trueup.journal import codec
from trueup.sim.oracle import facts
from trueup.sim.oracle.facts import UNITS

BROKER, BOOK = "broker", "book"


class Steps:
    """Net lots (units of 1e-8) by time; each point holds until the next."""

    def __init__(self, begin_ns: int) -> None:
        self.points: list[tuple[int, int]] = [(begin_ns, 0)]

    def add(self, at_ns: int, units: int) -> None:
        """Add a point, unless nothing changes."""
        if self.points[-1][1] != units:
            self.points.append((at_ns, units))


class Lane:
    """One position: who held it (`BROKER` or `BOOK`) from when to when."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.spans: list[tuple[str, int, int]] = []


class Scenes:
    """Everything that a drawing of a run needs to know of the two books."""

    def __init__(self, told: Sequence[facts.Fact]) -> None:
        self.begin_ns = told[0].at_ns if told else 0
        self.end_ns = told[-1].at_ns if told else 0
        self.healed_ns: int | None = None
        self.symbols: list[str] = []
        self.net: dict[tuple[str, str], Steps] = {}
        self._lanes: dict[int, Lane] = {}
        self._since: dict[tuple[str, int], int] = {}
        self._held: dict[str, dict[int, tuple[str, int]]] = {BROKER: {}, BOOK: {}}
        self._book, self._rows = Book(), list[facts.Journalled]()
        self._login: int | None = None
        for fact in told:
            self._take(fact)
        for whose, identifier in list(self._since):
            self._end(whose, identifier, self.end_ns)

    @property
    def lanes(self) -> list[Lane]:
        """The positions, oldest first."""
        return list(self._lanes.values())

    def _take(self, fact: facts.Fact) -> None:
        match fact:
            case facts.DealBooked(login=login) if self._login is None:
                # The account that is told of first is the bots' own.
                self._login = login
            case facts.PositionShown(login=self._login, position=held):
                units = held.units if held.side == "buy" else -held.units
                remote = {**self._held[BROKER], held.identifier: (held.symbol, units)}
                self._know(BROKER, fact.at_ns, remote)
            case facts.PositionLeft(login=self._login, identifier=gone):
                remote = {key: row for key, row in self._held[BROKER].items() if key != gone}
                self._know(BROKER, fact.at_ns, remote)
            case facts.Journalled():
                self._rows.append(fact)
                self._apply(fact)
                self._know(BOOK, fact.at_ns, dict(self._local()))
            case facts.JournalLost(position=position):
                self._book = Book()
                self._rows = [row for row in self._rows if row.position <= position]
                for row in self._rows:
                    self._apply(row)
                self._know(BOOK, fact.at_ns, dict(self._local()))
            case facts.Healed(at_ns=at_ns):
                self.healed_ns = at_ns

    def _apply(self, row: facts.Journalled) -> None:
        self._book.apply(codec.decode(row.position, row.kind, row.payload))

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
                self._lanes[identifier] = Lane(f"{identifier} {symbol}")
            if symbol not in self.symbols:
                self.symbols.append(symbol)
        for symbol in self.symbols:
            steps = self.net.setdefault((whose, symbol), Steps(self.begin_ns))
            steps.add(at_ns, sum(units for name, units in now.values() if name == symbol))

    def _end(self, whose: str, identifier: int, at_ns: int) -> None:
        begin_ns = self._since.pop((whose, identifier), None)
        if begin_ns is not None:
            self._lanes[identifier].spans.append((whose, begin_ns, at_ns))
