"""Read the state of a book from its journal, for a bot that does not run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from trueup.core.book.book import Book, Holding
from trueup.core.book.outcome import after_restart
from trueup.core.holds import HoldKind
from trueup.core.model import describe_at, describe_order
from trueup.core.sync.loss import hold_of
from trueup.journal import open_reader
from trueup.journal.backends.location import database_at
from trueup.journal.overview import overview
from trueup.journal.reading.reader import JournalReader
from trueup.observe.journal_status_text import JournalStatus
from trueup.observe.status_text import DoubtRow, HeldRow, PositionRow
from trueup.runtime.control.status import held_row, position_row
from trueup.runtime.time.clock import iso

UNTIL_PROVEN = "the deals that close it, or its return to the broker's list"
UNTIL_CHECKED = "a person checks the position, and the position closes"


def last_known(place: str | Path, stream: str | None) -> JournalStatus:
    """Return the state of a book in its journal; nothing is written.

    Args:
        place: a file, or a `postgresql://` URL.
        stream: the name of the stream; None for the last opened stream.

    Raises:
        JournalError: the journal cannot be read, has no such stream, or no stream at all.
    """
    # By the time of the last opening: the user means the bot that ran last.
    streams = sorted(overview(place).streams, key=lambda row: row.since_ns, reverse=True)
    if stream is None and streams:
        stream = streams[0].name
    with open_reader(place, stream) as reader:
        book, last_ns = _book_of(reader)
        return JournalStatus(
            journal=database_at(place).name,
            stream=reader.stream,
            holder=reader.holder,
            last_event=None if last_ns is None else iso(last_ns),
            account=book.bound.name if book.bound else None,
            trade_mode=book.account.trade_mode if book.account else None,
            realised=book.realised,
            currency=book.account.currency if book.account else "",
            currency_digits=book.account.currency_digits if book.account else None,
            holds=list(_holds(book)),
            in_doubt=[
                DoubtRow(o.order_id, o.action, o.volume, o.symbol, o.error or "", iso(o.doubt_ns))
                for o in book.in_doubt.values()
            ],
            positions=[_row(holding) for holding in book.holdings.values()],
            pending=[f"{ticket} {describe_order(p.order)}" for ticket, p in book.pending.items()],
            waits=list(book.unexplained),
            # Named, since the user may have meant another book of this journal.
            others=[row.name for row in streams if row.name != reader.stream],
        )


def _book_of(reader: JournalReader) -> tuple[Book, int | None]:
    """Return the book of a new process at its start, and the time of the last event (ns)."""
    saved = reader.latest_checkpoint()
    book, after = (Book(), 0) if saved is None else (Book.restore(saved.state), saved.position)
    last_ns = None
    for record in reader.records(after):
        book.apply(record.event)
        last_ns = record.at_ns
    if last_ns is None and after:
        last_ns = next((record.at_ns for record in reader.records(after - 1)), None)
    book.replay(after_restart(list(book.orders.values()), last_ns or 0))
    return book, last_ns


def _row(holding: Holding) -> PositionRow:
    # A profit from the last reading would look like the present profit.
    return msgspec.structs.replace(position_row(holding), profit=None)


def _holds(book: Book) -> Iterator[HeldRow]:
    # Only the holds that the journal knows; differences are found by a bot that sees the broker.
    if book.loss is not None:
        yield held_row(hold_of(book.loss), 0)
    for identifier, since_ns in book.missing.items():
        holding = book.holdings.get(identifier)
        what = f"Ticket {identifier}"
        symbol = ""
        if holding is not None:
            symbol = holding.position.symbol
            what = f"Ticket {holding.position.ticket}, {describe_at(holding.position)},"
        reason = f"{what} is not in the broker's list since {iso(since_ns)[11:19]} UTC, no proof"
        kind = HoldKind.MISSING.name.lower()
        yield HeldRow("", kind, symbol, identifier, reason, UNTIL_PROVEN)
    for halt in book.halts.values():
        kind = HoldKind.HALT.name.lower()
        yield HeldRow("", kind, halt.symbol, halt.identifier, halt.because, UNTIL_CHECKED)
