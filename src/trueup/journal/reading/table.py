"""Fetch and prove the rows of a stream, and locate damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from trueup.errors import JournalCorrupt
from trueup.journal.database.database import Database, FileDamaged
from trueup.journal.journal import GENESIS, Tip
from trueup.journal.reading.anchors import Anchors
from trueup.journal.rows.chain import BrokenChain, Prover, Row, proven

# Rows per query: enough that the query costs little, few enough to hold in memory.
PAGE = 2_000
# The largest possible position.
LARGEST = 2**63 - 1


class Writer(NamedTuple):
    """The writer of a stream, and the end of the chain after that writer's last append."""

    token: int
    holder: str
    since_ns: int
    position: int
    hash: bytes

    @property
    def tip(self) -> Tip:
        """The end of the chain."""
        return Tip(self.position, self.hash)


class Damage(NamedTuple):
    """The first defect of a stream.

    `torn` means that only the last transaction is damaged, as after a crash of the machine or on a
    bad disk.
    """

    position: int
    because: str
    torn: bool


class EventTable:
    """The rows of one stream."""

    def __init__(self, database: Database, stream: str) -> None:
        self._database = database
        self._sql = database.statements
        self.stream = stream
        self.anchors: Anchors = Anchors(database, stream)
        """What was archived of the stream."""

    @property
    def place(self) -> str:
        """The database's name in messages."""
        return self._database.name

    def begin(self) -> Tip:
        """Return the place in the chain after which the rows of the table go on."""
        anchor = self.anchors.last()
        return GENESIS if anchor is None else anchor.tip

    def writer(self) -> Writer | None:
        """Return the writer of the stream, or None before the first claim."""
        rows = self._database.fetch(self._sql.writer, self.stream)
        return Writer(*rows[0]) if rows else None

    def last_position(self) -> int:
        """Return the highest position of any row; 0 without rows."""
        last = self.last_row()
        return last.position if last is not None else 0

    def last_row(self) -> Row | None:
        """Return the row with the highest position, or None without rows."""
        return self._row(self._sql.last, self.stream, self.stream)

    def newest_of(self, kind: str, after: int) -> Row | None:
        """Return the newest row of a kind after a position, not proven; or None."""
        return self._row(self._sql.newest_of_kind, self.stream, after, kind)

    def tip_at(self, position: int) -> Tip | None:
        """Return the place in the chain at a position, or None if there is no such row."""
        if position <= 0:
            return GENESIS
        live = self.live_tip(position)
        if live is not None:
            return live
        begin = self.begin()
        return begin if begin.position == position else None

    def places(self, position: int) -> tuple[Tip | None, Tip]:
        """Return `tip_at` and `begin` as of a single moment.

        With a look at each, events that are archived or put back in between are at neither place.
        """
        with self._database.reading_events():
            return self.tip_at(position), self.begin()

    def live_tip(self, position: int) -> Tip | None:
        """Return the place in the chain of a row that is in the table, or None."""
        row = self._row(self._sql.page, self.stream, position - 1, position)
        return None if row is None else Tip(row.position, row.hash)

    def rows(self, after: int, until: int) -> Iterator[Row]:
        """Yield the rows of a range of positions, in pages, up to the first empty page."""
        while after < until:
            end = min(until, after + PAGE)
            page = self._database.fetch_some(self._sql.page, self.stream, after, end)
            if not page:
                return
            yield from map(Row._make, page)
            after = page[-1][0]

    def rows_between(self, since_ns: int, until_ns: int, until: int, after: int) -> Iterator[Row]:
        """Yield the rows of a range of positions and of a range of time, in pages."""
        for start in range(after, until, PAGE):
            end = min(until, start + PAGE)
            page = self._database.fetch(
                self._sql.page_between, self.stream, start, end, since_ns, until_ns
            )
            yield from map(Row._make, page)

    def transactions(
        self, after: Tip | None = None, until: int | None = None
    ) -> Iterator[list[Row]]:
        """Yield whole, proven transactions after a place in the chain, up to the end.

        `after` is by default the place after which the rows of the table go on.

        Raises:
            BrokenChain: the next row is missing or altered; the rows yielded before are proven.
        """
        after = self.begin() if after is None else after
        prover = Prover(self.stream, after)
        try:
            end = self._end() if until is None else until
            for row in self.rows(after.position, end):
                whole = prover.take(row)
                if whole is not None:
                    yield whole
            prover.finish(end)
        except JournalCorrupt as error:
            raise prover.give_up() from error

    def tail(self) -> Tip | None:
        """Return the end of the chain, or None if the last transaction is damaged.

        The cost does not grow with the journal: only the last transaction is proven.
        """
        with self._database.reading_events():
            begin = self.begin()
            last = self._row(self._sql.last, self.stream, self.stream)
            if last is None or last.position <= begin.position:
                return begin
            before = self._row(self._sql.before_batch, self.stream, self.stream, last.batch)
            # The row before must end its own transaction; if it does not, rows are missing.
            if before is not None and before.position != before.batch:
                return None
            # The row before is trusted as a start: `prove` checks the chain from the beginning.
            start = begin if before is None else Tip(before.position, before.hash)
            rows = self.rows(start.position, last.position)
            try:
                return proven(self.stream, rows, start)
            except BrokenChain:
                return None

    def prove(self, tell: Callable[[int], None] | None = None) -> tuple[Tip, Damage | None]:
        """Prove all rows that are not archived; return the proven end, and the damage after it.

        Args:
            tell: is told the position of the last proven event from time to time.
        """
        while True:
            begin = self.begin()
            try:
                return self._proven_from(begin, tell), None
            except BrokenChain as broken:
                # Rows that were archived meanwhile are no damage.
                if self.begin() == begin:
                    return broken.tip, Damage(
                        broken.position, broken.because, self._is_torn(broken)
                    )

    def _proven_from(self, begin: Tip, tell: Callable[[int], None] | None) -> Tip:
        tip = told = begin
        for transaction in self.transactions(begin):
            tip = Tip(transaction[-1].position, transaction[-1].hash)
            if tell is not None and tip.position >= told.position + PAGE:
                told = tip
                tell(told.position)
        return tip

    def set_aside(self, after: int, found_ns: int) -> None:
        """Move the rows after a position to the table of torn rows."""
        self._database.change(self._sql.set_aside, found_ns, self.stream, after)
        self._database.change(self._sql.cut, self.stream, after)

    def _end(self) -> int:
        """Return the last position; `LARGEST` if the end of the file is damaged."""
        try:
            return self.last_position()
        except FileDamaged:
            return LARGEST

    def _is_torn(self, broken: BrokenChain) -> bool:
        """Return whether all defective rows belong to the last transaction.

        Either a proven row of that transaction gives its end, or all its rows give the same end. In
        a damaged file the unreadable end is enough.
        """
        if self._end() == LARGEST:
            return True
        try:
            lowest, highest, end = self._database.fetch(
                self._sql.batches_after, self.stream, broken.tip.position
            )[0]
        except FileDamaged:
            return False
        return lowest == highest or (broken.batch is not None and end <= broken.batch)

    def _row(self, statement: str, *parameters: object) -> Row | None:
        rows = self._database.fetch(statement, *parameters)
        if rows and not isinstance(rows[0][0], int):
            # SQLite lets a column hold any type.
            raise JournalCorrupt(f"A row of {self._database.name} has position {rows[0][0]!r}.")
        return Row._make(rows[0]) if rows else None
