"""Write the status of a book from its journal alone, for a bot that is not running."""

from __future__ import annotations

import msgspec

from trueup.core.quantity import format_money
from trueup.observe.status_text import (
    DoubtRow,
    HeldRow,
    PositionRow,
    account_words,
    doubt_lines,
    position_lines,
    said,
    time_of,
)


class JournalStatus(msgspec.Struct, frozen=True):
    """The book as its last process left it.

    `last_event` is the time of the last event, ISO 8601 in UTC, None for an empty journal. `holder`
    is the process that wrote the journal last. `holds` are the held differences that are in the
    journal: positions that are missing without proof, and halts. `in_doubt` are the orders without
    a proven outcome, including those that were under way when the process ended. `waits` has the
    identifiers of positions with expected deals. `others` names the other streams of the journal.
    """

    journal: str
    stream: str
    holder: str
    last_event: str | None
    account: str | None = None
    trade_mode: str | None = None
    realised: float = 0.0
    currency: str = ""
    currency_digits: int | None = None
    holds: list[HeldRow] = []
    in_doubt: list[DoubtRow] = []
    positions: list[PositionRow] = []
    pending: list[str] = []
    waits: list[int] = []
    others: list[str] = []


def write_journal_status(book: JournalStatus) -> str:
    """Write the status as text of 80 columns."""
    when = "is empty" if book.last_event is None else f"ends at {time_of(book.last_event)}"
    money = f"{format_money(book.realised, book.currency_digits)} {book.currency}".strip()
    lines = [
        *said("Journal", f"{book.journal}, stream {book.stream}, {when}."),
        *said("", f"Written last by {book.holder}."),
        *said("", "The broker may have changed since: the next bot's first sync tells."),
        *said("Account", f"{account_words(book.account, book.trade_mode)}, realised {money}"),
    ]
    # The parts that need a person come before the positions.
    for held in book.holds:
        lines += [
            *said("Held", f"{held.symbol or 'Account'}: {held.reason}"),
            *said("", f"until {held.until}"),
        ]
    lines += doubt_lines(book.in_doubt)
    for identifier in book.waits:
        lines += said("Waits for", f"the deals of ticket {identifier}")
    for order in book.pending:
        lines += said("Pending", order)
    lines += position_lines(book.positions, book.currency_digits)
    # A reader who finds the book empty may have given the wrong stream.
    if book.others:
        lines += said("Others", f"the journal has more books: --stream {', '.join(book.others)}")
    return "\n".join(lines)
