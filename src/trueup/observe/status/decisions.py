"""The decisions that wait for a person, with their consequences; and all other differences."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence

from trueup.core.book.book import Book
from trueup.core.dates import iso
from trueup.core.holds import Hold, HoldKind
from trueup.core.model import PendingOrder, Position, Snapshot, describe_at, describe_order
from trueup.core.quantity import format_lots, format_price, from_units, to_units
from trueup.observe.lines import time_of
from trueup.observe.status.hold_findings import hold_key
from trueup.observe.status.rows import Books
from trueup.observe.status.status import Decision, Held

# ENUM_POSITION_REASON (MQL5 reference, "Position Properties").
OPENED_BY = {
    0: "by hand in the terminal",
    1: "by hand on the phone",
    2: "by hand in the browser",
    3: "by a program",
}
STAYS = "the difference stays, and is shown"


class Decisions:
    """Describe holds for a person.

    Args:
        book: the book.
        books: both books.
        snapshot: the last believed reading, None if there is none.
        now_ns: the date by which ages are counted (ns).
    """

    def __init__(self, book: Book, books: Books, snapshot: Snapshot | None, now_ns: int) -> None:
        self._book, self._books = book, books
        self._evidence = None if snapshot is None else snapshot.evidence
        self._now_ns = now_ns

    def waiting(
        self, holds: Sequence[Hold], asked: Collection[str], since: dict[str, int]
    ) -> list[Decision]:
        """Return the decisions; `asked` are the keys of the holds that a person has to see to.

        `since` has the date (ns) since when a hold is seen, by its key.
        """
        wanted = [hold for hold in holds if hold.id and hold_key(hold) in asked]
        return [self._decision(hold, since.get(hold_key(hold))) for hold in wanted]

    def others(self, holds: Sequence[Hold], asked: Collection[str]) -> list[Held]:
        """Return the differences that wait for no decision of a person."""
        return [
            Held(
                kind=hold.kind.name.lower(),
                symbol=hold.symbol,
                ticket=hold.identifier,
                reason=hold.reason_at(self._now_ns),
                until=hold.until,
                id=hold.id,
            )
            for hold in holds
            if hold.kind is not HoldKind.DOUBT and not (hold.id and hold_key(hold) in asked)
        ]

    def _decision(self, hold: Hold, since_ns: int | None) -> Decision:
        local, remote = self._sides(hold)
        shown = remote or local
        approved, left = self._consequences(hold, local, remote)
        since_ns = hold.since_ns or since_ns
        return Decision(
            id=hold.id,
            what=self._what(hold, local, remote),
            symbol=hold.symbol,
            ticket=hold.identifier if shown is None else shown.ticket,
            since=iso(since_ns) if since_ns else None,
            opened=self._opened(shown) if isinstance(shown, Position) else "",
            protection="" if shown is None else stops(shown),
            if_approved=approved,
            if_left=left,
        )

    def _sides(
        self, hold: Hold
    ) -> tuple[Position | None, Position | None] | tuple[PendingOrder | None, PendingOrder | None]:
        if hold.identifier in self._books.order_tickets:
            return self._books.order(hold.identifier)
        return self._books.position(hold.identifier)

    def _what(self, hold: Hold, local: Position | PendingOrder | None, remote: object) -> str:
        shown = remote or local
        kind = hold.id.partition("-")[0]
        if isinstance(shown, PendingOrder):
            return f"Pending order {shown.ticket} differs: {describe_order(shown)} {hold.symbol}"
        if not isinstance(shown, Position):
            return hold.reason_at(self._now_ns)
        row = f"Position {shown.ticket}"
        figures = f"{describe_at(shown)} {shown.symbol}"
        match kind:
            case "zombie":
                return f"{row} is at the broker and not in the book: {figures}"
            case "ghost":
                return f"{row} is in the book and no longer at the broker: {figures}"
            case "missing":
                why = f", {hold.why}" if hold.why else ""
                return f"{row} left the broker's list{why}: {figures}"
            case "protection":
                return f"{row} has other stops at the broker: {figures}, {stops(shown)}"
            case "drift":
                ours = f"; the book has {describe_at(local)}" if isinstance(local, Position) else ""
                return f"{row} differs at the broker: {figures}{ours}"
        return hold.reason_at(self._now_ns)

    def _consequences(
        self, hold: Hold, local: Position | PendingOrder | None, remote: object
    ) -> tuple[str, str]:
        """Return the consequences of an approval, and of no answer."""
        match hold.id.partition("-")[0]:
            case "zombie" if isinstance(remote, Position):
                net = self._net(remote.symbol, to_units(remote.net_volume))
                return f"the book adopts it, and {net}", f"it is not traded; {STAYS}"
            case "ghost" if isinstance(local, Position):
                net = self._net(local.symbol, -to_units(local.net_volume))
                return f"it leaves the book, and {net}", f"it stays in the book; {STAYS}"
            case "missing" if isinstance(local, Position):
                net = self._net(local.symbol, -to_units(local.net_volume))
                gone = f"it leaves the book as assumed closed, with your name, and {net}"
                return gone, "it stays in the book, and its deals are asked for again"
            case "loss":
                return "entries are allowed again", "entries in the whole account wait"
            case "row":
                where = f"in {hold.symbol}" if hold.symbol else "in the whole account"
                return f"entries {where} no longer wait for this row", f"entries {where} wait"
        return "the book takes the broker's state", STAYS

    def _net(self, symbol: str, change: int) -> str:
        before = sum(
            to_units(holding.position.net_volume) for holding in self._book.holdings_in(symbol)
        )
        lots, after = (f"{_signed(units)}" for units in (before, before + change))
        return f"the net of {symbol} goes from {lots} to {after} lots"

    def _opened(self, row: Position) -> str:
        """Say when and by whom a position was opened, as far as the reading tells."""
        if self._evidence is None or not row.time:
            return ""
        offset_sec = self._evidence.time_offset_sec
        moment = dt.datetime.fromtimestamp(row.time - (offset_sec or 0), dt.UTC).isoformat()
        when = time_of(moment)
        if offset_sec is None:
            when = when.replace("UTC", "server time")
        by = OPENED_BY.get(row.reason, "")
        magic = f", magic {row.magic}" if row.magic else ""
        return f"{when}{f', {by}' if by else ''}{magic}"


def stops(row: Position | PendingOrder) -> str:
    """Write stop loss and take profit: no stop loss, take profit 1.1."""
    levels = (("stop loss", row.sl), ("take profit", row.tp))
    return ", ".join(f"{n} {format_price(p)}" if p else f"no {n}" for n, p in levels)


def _signed(units: int) -> str:
    return f"{'+' if units > 0 else ''}{format_lots(from_units(units))}"
